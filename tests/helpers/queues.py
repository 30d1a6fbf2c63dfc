"""The queue itself, for tests that call it without a broker; ``now`` is whatever they say."""

from __future__ import annotations

from typing import Any

from gputel.mq.core.message import QueuedMessage
from gputel.mq.core.queue import MessageQueue, QueueLimits


def message(id_: str, payload: bytes = b"p", key: str = "key", **more: Any) -> QueuedMessage:
    """A message; ``more`` may be its delay and its time to live."""
    return QueuedMessage(id_, key, payload, b"\x80", **more)


def queue_of(*, ordered_keys: bool = False, **limits: Any) -> MessageQueue:
    """An empty queue with these limits; its leases are called q-1, q-2 and so on."""
    return MessageQueue(QueueLimits(**limits), lease_prefix="q-", ordered_keys=ordered_keys)


def leased_ids(queue: MessageQueue, now: float = 0.0, most: int = 100) -> list[str]:
    """Lease what is ready; the ids in the order of delivery."""
    return [delivery.message.id for delivery in queue.lease(most, None, now)]
