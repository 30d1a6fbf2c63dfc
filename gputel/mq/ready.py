"""The line of ready messages, in the order of publishing."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from gputel.mq.message import Message, State


class ReadyLine:
    """Ready messages, oldest first; one that comes back takes its old place.

    Whatever was delivered once is older than all that is fresh, so a small heap of the returned
    in front of a deque of the fresh keeps the order exactly.
    """

    def __init__(self) -> None:
        self._fresh: deque[Message] = deque()
        self._returned: list[tuple[int, Message]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned)

    def append(self, message: Message) -> None:
        """Put a message at the end of the line."""
        self._sequence += 1
        message.sequence = self._sequence
        message.state = State.READY
        message.lease = ""
        self._fresh.append(message)

    def put_back(self, message: Message) -> None:
        """Put a message that was in line before back into its place."""
        message.state = State.READY
        message.lease = ""
        heappush(self._returned, (message.sequence, message))

    def first(self) -> Message | None:
        """The oldest message, or None."""
        if self._returned:
            return self._returned[0][1]
        return self._fresh[0] if self._fresh else None

    def pop(self) -> None:
        """Take the oldest message out of the line."""
        if self._returned:
            heappop(self._returned)
        else:
            self._fresh.popleft()
