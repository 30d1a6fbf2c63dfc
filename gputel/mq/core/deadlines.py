"""Deadlines of messages: when a lease runs out, and when a delay ends."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from gputel.mq.core.message import QueuedMessage

_SLACK = 64
"""Stale heap entries that are always tolerated: it is not worth rebuilding a small heap."""


class Deadlines:
    """Messages by deadline, each with one valid heap entry.

    A later deadline changes only the message; the heap entry moves when it reaches the top.
    Entries of removed messages stay until they reach the top, or are more than the valid ones.
    So every operation costs O(log n) amortised, and the heap has at most about two entries for
    each message.
    """

    def __init__(self) -> None:
        self._messages: dict[int, QueuedMessage] = {}
        self._heap: list[tuple[float, int]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: QueuedMessage, deadline: float) -> int:
        """Watch a message until ``deadline``. Returns a serial that was never used before."""
        serial = self._serial = self._serial + 1
        message.timer = serial
        message.deadline = message.entry_at = deadline
        self._messages[serial] = message
        heappush(self._heap, (deadline, serial))
        return serial

    def move(self, message: QueuedMessage, deadline: float) -> None:
        """Change the deadline of a watched message to an earlier or later one."""
        message.deadline = deadline
        if deadline < message.entry_at:
            message.entry_at = deadline
            heappush(self._heap, (deadline, message.timer))
            if len(self._heap) > 2 * len(self._messages) + _SLACK:
                self._rebuild()

    def remove(self, message: QueuedMessage) -> None:
        """Stop watching a message."""
        messages = self._messages
        del messages[message.timer]
        message.timer = 0
        if len(self._heap) > 2 * len(messages) + _SLACK:
            self._rebuild()

    def clear(self) -> None:
        """Stop watching all messages. Serials are not used again."""
        self._messages.clear()
        self._heap.clear()

    def pop_due(self, now: float) -> Iterator[QueuedMessage]:
        """Stop watching the messages whose deadline has come; yields them, earliest first."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            _, serial = heappop(self._heap)
            message = self._messages.pop(serial)
            message.timer = 0
            yield message

    def next_deadline(self) -> float | None:
        """The earliest deadline, or None."""
        heap, messages = self._heap, self._messages
        while heap:
            at, serial = heap[0]
            message = messages.get(serial)
            if message is None or message.entry_at != at:
                heappop(heap)
            elif message.deadline > at:
                heappop(heap)
                message.entry_at = message.deadline
                heappush(heap, (message.deadline, serial))
            else:
                return at
        return None

    def _rebuild(self) -> None:
        self._heap = [(m.deadline, serial) for serial, m in self._messages.items()]
        heapify(self._heap)
        for message in self._messages.values():
            message.entry_at = message.deadline
