"""A message, the states that it passes through, and what is told of it on delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

OVERHEAD_BYTES = 512
"""Counted for each message beside its own bytes: what Python spends on holding it."""

HISTORY_LENGTH = 8
"""Failed deliveries that a message remembers; older ones are forgotten first."""

REASON_LENGTH = 256
"""Characters of a reason that are kept."""

NEVER = float("inf")

_FAILURE_OVERHEAD_BYTES = 128


class State(StrEnum):
    """Where the queue holds a message."""

    READY = "ready"  # waits for a consumer
    DELAYED = "delayed"  # waits for its time, then for a consumer
    IN_FLIGHT = "in_flight"  # leased to a consumer
    DEAD = "dead"  # a dead letter: delivered again only when replayed


class Failure(NamedTuple):
    """One delivery that did not end in an ack."""

    attempt: int
    at: float  # monotonic seconds
    reason: str


@dataclass(slots=True, eq=False)
class Message:
    """One message and its place in the queue. Only the queue changes it after it was published.

    The queue never looks into ``payload`` or ``metadata``.
    """

    id: str
    key: str
    payload: bytes
    metadata: bytes
    delay_s: float = 0.0  # from publishing until it is ready
    ttl_s: float = 0.0  # from publishing until it expires; 0: it never does
    size: int = 0
    sequence: int = 0  # place in the order of delivery
    state: State = State.READY
    attempts: int = 0
    lease: str = ""  # "" when not in flight
    timer: int = 0  # serial of its deadline; 0 when nothing is due
    deadline: float = 0.0  # monotonic seconds
    entry_at: float = 0.0  # deadline of its entry in the heap, never later than ``deadline``
    expires_at: float = NEVER  # monotonic seconds
    since: float = 0.0  # monotonic seconds at which it was published, or died
    delivered_at: float = 0.0  # monotonic seconds of its last delivery
    history: Sequence[Failure] = ()

    def __post_init__(self) -> None:
        text_bytes = len(self.id) + len(self.key)
        self.size = len(self.payload) + len(self.metadata) + text_bytes + OVERHEAD_BYTES

    @property
    def content_bytes(self) -> int:
        """Bytes that a consumer receives: payload and metadata."""
        return len(self.payload) + len(self.metadata)

    def remember(self, failure: Failure) -> None:
        """Add a failed delivery to the history, within its bounds; ``size`` follows."""
        kept = self.history[-(HISTORY_LENGTH - 1) :]
        forgotten = self.history[: len(self.history) - len(kept)]
        self.history = (*kept, failure)
        self.size += _failure_bytes(failure) - sum(map(_failure_bytes, forgotten))


class Delivery(NamedTuple):
    """A message as it was leased: lease and attempts are those of this delivery."""

    message: Message
    lease: str
    attempts: int


def _failure_bytes(failure: Failure) -> int:
    return len(failure.reason) + _FAILURE_OVERHEAD_BYTES
