"""The line of ready messages, in the order of publishing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import islice

from gputel.mq.core.message import NEVER, QueuedMessage, State

_SLACK = 64
"""Empty places that are always tolerated: it is not worth rebuilding a short line."""


class ReadyLine:
    """Ready messages, oldest first. A message that comes back takes its old place.

    Messages that came back are in a heap, fresh ones in a deque; the older of the two heads is
    next. A message that leaves from the middle sets its sequence to 0, and its place stays until
    it reaches the head, or until there are more empty places than messages. So every operation
    costs O(log n) amortised.
    """

    blocked = 0
    """Ready messages that wait behind another of their key: none in this line."""

    def __init__(self) -> None:
        self._fresh: deque[QueuedMessage] = deque()
        self._returned: list[tuple[int, QueuedMessage]] = []
        self._sequence = 0
        self._gone = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned) - self._gone

    def number(self, message: QueuedMessage) -> None:
        """Give a message that is not ready yet the next place in the order."""
        self._sequence += 1
        message.sequence = self._sequence

    def append(self, message: QueuedMessage) -> None:
        """Add a message at the end of the line."""
        self._sequence += 1
        message.sequence = self._sequence
        message.state = State.READY
        message.lease = ""
        self._fresh.append(message)

    def put_back(self, message: QueuedMessage) -> None:
        """Return a message to its old place."""
        message.state = State.READY
        message.lease = ""
        heappush(self._returned, (message.sequence, message))

    def first(self) -> QueuedMessage | None:
        """The oldest message, or None."""
        if self._gone:
            self._skip_gone()
        if self._returned and self._returned_is_older():
            return self._returned[0][1]
        return self._fresh[0] if self._fresh else None

    def take(self, most: int, max_bytes: int | None) -> list[QueuedMessage]:
        """Remove the oldest messages, as many as both bounds allow; they keep their sequence.

        The first one is taken whatever its size.
        """
        taken: list[QueuedMessage] = []
        room = NEVER if max_bytes is None else max_bytes
        fresh, append = self._fresh, taken.append
        while len(taken) < most:
            returned = self._returned or self._gone
            message = self.first() if returned else fresh[0] if fresh else None
            if message is None:
                break
            room -= len(message.payload) + len(message.metadata)
            if room < 0 and taken:
                break
            if returned and self._returned and self._returned_is_older():
                heappop(self._returned)
            else:
                fresh.popleft()
            append(message)
        return taken

    def peek(self, most: int) -> list[QueuedMessage]:
        """The oldest messages, at most ``most``, in order; the line is not changed.

        Costs O(most * log n), plus one step for each empty place on the way.
        """
        fresh = ((message.sequence, message) for message in self._fresh if message.sequence)
        return [message for _, message in islice(merge(fresh, self._returned_in_order()), most)]

    def discard(self, message: QueuedMessage) -> None:
        """Remove a ready message from any place."""
        message.sequence = 0
        self._gone += 1
        if self._gone > len(self._fresh) + len(self._returned) - self._gone + _SLACK:
            self._rebuild()

    def left(self, message: QueuedMessage) -> None:
        """Free the place of a message that is gone or dead, and was not ready."""

    def _returned_is_older(self) -> bool:
        return not self._fresh or self._returned[0][0] < self._fresh[0].sequence

    def _returned_in_order(self) -> Iterator[tuple[int, QueuedMessage]]:
        # Walk the heap from its root: the next message is always a child of one yielded before.
        heap = self._returned
        ahead = [(heap[0][0], 0)] if heap else []
        while ahead:
            _, at = heappop(ahead)
            if heap[at][1].sequence:
                yield heap[at]
            for below in (2 * at + 1, 2 * at + 2):
                if below < len(heap):
                    heappush(ahead, (heap[below][0], below))

    def _skip_gone(self) -> None:
        while self._fresh and not self._fresh[0].sequence:
            self._fresh.popleft()
            self._gone -= 1
        while self._returned and not self._returned[0][1].sequence:
            heappop(self._returned)
            self._gone -= 1

    def _rebuild(self) -> None:
        self._fresh = deque(message for message in self._fresh if message.sequence)
        self._returned = [entry for entry in self._returned if entry[1].sequence]
        heapify(self._returned)
        self._gone = 0
