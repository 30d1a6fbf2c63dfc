"""Deadlines of messages: when a lease runs out, and when a delay ends."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from gputel.mq.core.message import QueuedMessage

_SLACK = 64
"""Dead heap entries that are always tolerated: small heaps are not worth rebuilding."""


class Deadlines:
    """Messages by deadline, one live heap entry each.

    A later deadline is written to the message alone; its entry moves when it surfaces. Entries of
    messages that left stay until they surface or outnumber the live ones, so every operation
    costs O(log n) amortised and the heap never holds more than twice its messages, and a bit.
    """

    def __init__(self) -> None:
        self._messages: dict[int, QueuedMessage] = {}
        self._heap: list[tuple[float, int]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: QueuedMessage, deadline: float) -> int:
        """Watch a message until ``deadline``; gives a serial that was never given before."""
        serial = self._serial = self._serial + 1
        message.timer = serial
        message.deadline = message.entry_at = deadline
        self._messages[serial] = message
        heappush(self._heap, (deadline, serial))
        return serial

    def move(self, message: QueuedMessage, deadline: float) -> None:
        """Give a watched message another deadline, earlier or later."""
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
        """Watch nothing any more. Serials go on."""
        self._messages.clear()
        self._heap.clear()

    def pop_due(self, now: float) -> Iterator[QueuedMessage]:
        """Each message whose deadline is not after ``now``, earliest first; no longer watched."""
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
