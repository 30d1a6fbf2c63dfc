"""Dead letters: messages that failed for good, kept with their reasons until a person decides."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from gputel.errors import UnknownMessage
from gputel.mq.core.message import QueuedMessage


class DeadLetters:
    """The dead letters of one queue, oldest first."""

    def __init__(self) -> None:
        self._messages: OrderedDict[str, QueuedMessage] = OrderedDict()
        self.bytes = 0
        """The size of all of them together."""

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[QueuedMessage]:
        return iter(self._messages.values())

    def add(self, message: QueuedMessage) -> None:
        """Add a message as the newest dead letter."""
        self._messages[message.id] = message
        self.bytes += message.size

    def clear(self) -> None:
        """Remove all."""
        self._messages.clear()
        self.bytes = 0

    def page(self, offset: int, limit: int) -> list[QueuedMessage]:
        """At most ``limit`` dead letters, oldest first, after the first ``offset``."""
        return list(islice(self._messages.values(), offset, offset + limit))

    def ids(self) -> list[str]:
        """The ids of all, oldest first."""
        return list(self._messages)

    def get(self, id_: str) -> QueuedMessage:
        """The dead letter with this id. Raises UnknownMessage."""
        try:
            return self._messages[id_]
        except KeyError:
            raise UnknownMessage(f"there is no dead letter {id_}") from None

    def take(self, id_: str) -> QueuedMessage:
        """Remove and return the dead letter with this id. Raises UnknownMessage."""
        message = self.get(id_)
        del self._messages[id_]
        self.bytes -= message.size
        return message

    def take_oldest(self) -> QueuedMessage:
        """Remove and return the oldest dead letter; there must be one."""
        _, message = self._messages.popitem(last=False)
        self.bytes -= message.size
        return message
