"""The line of ready messages of a queue with ordered keys."""

from __future__ import annotations

from collections import OrderedDict

from gputel.mq.core.message import QueuedMessage, State
from gputel.mq.core.ready import ReadyLine


class KeyedLine(ReadyLine):
    """A line in which only the oldest message of a key has its turn: ready, delayed or in flight.

    The other messages of the key wait behind it, outside the line, and the next one gets its turn
    when the first has left. So no call has to skip a blocked key. Messages without a key do not
    wait for each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocked = 0
        self._up: dict[str, QueuedMessage] = {}
        self._behind: dict[str, OrderedDict[int, QueuedMessage]] = {}  # by sequence

    def __len__(self) -> int:
        return super().__len__() + self.blocked

    def number(self, message: QueuedMessage) -> None:
        """Give a message that is not ready yet the next place in the order."""
        super().number(message)
        key = message.key
        if not key or self._up.setdefault(key, message) is message:
            return
        behind = self._behind.get(key)
        if behind is None:
            behind = self._behind[key] = OrderedDict()
        behind[message.sequence] = message

    def append(self, message: QueuedMessage) -> None:
        """Add a message at the end of the line, or behind the others of its key."""
        self.number(message)
        message.state = State.READY
        message.lease = ""
        if self._is_behind(message):
            self.blocked += 1
        else:
            self._fresh.append(message)

    def put_back(self, message: QueuedMessage) -> None:
        """Return a message to its old place."""
        if self._is_behind(message):  # its delay is over, but it is not its turn
            message.state = State.READY
            self.blocked += 1
        else:
            super().put_back(message)

    def discard(self, message: QueuedMessage) -> None:
        """Remove a ready message from any place."""
        if self._is_behind(message):
            self.blocked -= 1
        else:
            super().discard(message)
        self.left(message)

    def left(self, message: QueuedMessage) -> None:
        """A message is gone or dead. If it had its turn, the next of its key has it now."""
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
