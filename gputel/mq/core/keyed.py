"""The line of ready messages when the messages of each key keep their order."""

from __future__ import annotations

from collections import OrderedDict

from gputel.mq.core.message import QueuedMessage, State
from gputel.mq.core.ready import ReadyLine


class KeyedLine(ReadyLine):
    """A line in which only the oldest message of a key is up: ready, delayed or in flight.

    The others of the key stand behind it, out of the line, and the next of them steps up when it
    has left; so nothing ever looks past a key that is held up. Messages without a key are free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocked = 0
        self._up: dict[str, QueuedMessage] = {}
        self._behind: dict[str, OrderedDict[int, QueuedMessage]] = {}  # by sequence

    def __len__(self) -> int:
        return super().__len__() + self.blocked

    def number(self, message: QueuedMessage) -> None:
        """Give a message, which is not ready yet, its place behind all others."""
        super().number(message)
        key = message.key
        if not key or self._up.setdefault(key, message) is message:
            return
        behind = self._behind.get(key)
        if behind is None:
            behind = self._behind[key] = OrderedDict()
        behind[message.sequence] = message

    def append(self, message: QueuedMessage) -> None:
        """Put a message at the end of the line, or behind the others of its key."""
        self.number(message)
        message.state = State.READY
        message.lease = ""
        if self._is_behind(message):
            self.blocked += 1
        else:
            self._fresh.append(message)

    def put_back(self, message: QueuedMessage) -> None:
        """Put a message that was given a place before into that place."""
        if self._is_behind(message):  # its delay is over, but its turn has not come
            message.state = State.READY
            self.blocked += 1
        else:
            super().put_back(message)

    def discard(self, message: QueuedMessage) -> None:
        """Take a ready message out for good, wherever it stands."""
        if self._is_behind(message):
            self.blocked -= 1
        else:
            super().discard(message)
        self.left(message)

    def left(self, message: QueuedMessage) -> None:
        """A message is gone, or dead: if it was up, the next of its key steps up."""
        key = message.key
        if not key:
            return
        behind = self._behind.get(key)
        if self._is_behind(message):
            assert behind is not None
            del behind[message.sequence]
        elif behind is None:
            del self._up[key]
        else:
            _, following = behind.popitem(last=False)
            self._up[key] = following
            if following.state is State.READY:
                self.blocked -= 1
                super().put_back(following)
        if behind is not None and not behind:
            del self._behind[key]

    def _is_behind(self, message: QueuedMessage) -> bool:
        return bool(message.key) and self._up[message.key] is not message
