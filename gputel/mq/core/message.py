"""A message, its states, and what a consumer gets on delivery."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

OVERHEAD_BYTES = 512
"""Added to the size of each message: what Python needs to keep it in memory."""

HISTORY_LENGTH = 8
"""Failed deliveries that a message remembers; the oldest are forgotten first."""

REASON_LENGTH = 256
"""Characters kept of a reason."""

SHORT_REASON_LENGTH = 64
"""Characters kept of a reason when the queue is full."""

NEVER = float("inf")

_FAILURE_OVERHEAD_BYTES = 128


class State(StrEnum):
    """The state of a message in its queue."""

    READY = "ready"  # waits for a consumer
    DELAYED = "delayed"  # waits for the end of its delay
    IN_FLIGHT = "in_flight"  # a consumer has a lease on it
    DEAD = "dead"  # a dead letter: delivered again only after a replay


class Failure(NamedTuple):
    """One delivery that did not end in an ack."""

    attempt: int
    at: float  # monotonic seconds
    reason: str


class QueuedMessage:
    """One message and its state in the queue. After the publish only the queue changes it.

    The queue never looks into ``payload``, ``metadata`` or ``enqueued``. Its times are monotonic
    seconds.
    """

    __slots__ = (
        "attempts",
        "deadline",
        "delay_s",
        "delivered_at",
        "enqueued",
        "entry_at",
        "expires_at",
        "history",
        "id",
        "key",
        "lease",
        "metadata",
        "payload",
        "sequence",
        "since",
        "size",
        "state",
        "timer",
        "ttl_s",
    )

    def __init__(
        self,
        id: str,
        key: str,
        payload: bytes,
        metadata: bytes,
        delay_s: float = 0.0,
        ttl_s: float = 0.0,
    ) -> None:
        self.id = id
        self.key = key
        self.payload = payload
        self.metadata = metadata
        self.delay_s = delay_s  # from publishing until it is ready
        self.ttl_s = ttl_s  # from publishing until it expires; 0: it never does
        self.size = len(payload) + len(metadata) + len(id) + len(key) + OVERHEAD_BYTES
        self.sequence = 0  # place in the order of delivery
        self.state = State.READY
        self.attempts = 0
        self.lease = ""  # "" when not in flight
        self.timer = 0  # serial of its deadline; 0 when nothing is due
        self.deadline = 0.0
        self.entry_at = 0.0  # deadline of its entry in the heap, never later than ``deadline``
        self.expires_at = NEVER
        self.enqueued = 0.0  # Unix seconds of the publish, as consumers are told
        self.since = 0.0  # when it was published, or died
        self.delivered_at = 0.0  # when it was delivered last
        self.history: Sequence[Failure] = ()

    def remember(self, failure: Failure, *, alone: bool = False) -> None:
        """Add a failed delivery to the bounded history and update ``size``.

        With ``alone``, the earlier failures are forgotten.
        """
        kept = () if alone else self.history[-(HISTORY_LENGTH - 1) :]
        forgotten = self.history[: len(self.history) - len(kept)]
        self.history = (*kept, failure)
        self.size += _failure_bytes(failure) - sum(map(_failure_bytes, forgotten))


class LeasedMessage(NamedTuple):
    """A message with the lease and the attempt number of one delivery."""

    message: QueuedMessage
    lease: str
    attempts: int


def _failure_bytes(failure: Failure) -> int:
    reason = failure.reason
    width = 1 if reason.isascii() else 4  # bytes of memory for each character, at most
    return width * len(reason) + _FAILURE_OVERHEAD_BYTES
