"""The queues of one broker, by name."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator

from gputel.broker.waiting_queue import WaitingQueue
from gputel.config import BrokerSettings
from gputel.errors import ConfigError, QueueClosed, TooManyQueues, UnknownQueue
from gputel.mq.queue import MessageQueue, QueueLimits

DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ORDERED = ":ordered"


class Queues:
    """All queues of a broker, each within the settings' bounds. The default one is always there.

    A queue that nobody declared is forgotten when there are too many and it is of no use: it
    holds nothing and nobody waits for it.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        make: Callable[[str, MessageQueue], WaitingQueue] = lambda _name, queue: WaitingQueue(
            queue
        ),
    ) -> None:
        self._settings = settings
        self._make = make
        self._queues: dict[str, WaitingQueue] = {}
        self._declared: set[str] = {DEFAULT}
        self.closed = False
        self.default = self._create(DEFAULT)
        for name, ordered_keys in declared_queues(settings.queues or ""):
            self.declare(name, ordered_keys=ordered_keys)

    def __iter__(self) -> Iterator[WaitingQueue]:
        return iter(list(self._queues.values()))

    def items(self) -> list[tuple[str, WaitingQueue]]:
        """Names and queues, by name."""
        return sorted(self._queues.items())

    def existing(self, name: str | None) -> WaitingQueue:
        """The queue of this name; None: the default one. Raises UnknownQueue."""
        if name is None:
            return self.default
        queue = self._queues.get(name)
        if queue is None:
            raise UnknownQueue(f"there is no queue {name}; GET /queues tells which there are")
        return queue

    def named(self, name: str | None) -> WaitingQueue:
        """The queue of this name, made if need be; None: the default one.

        Use it before anything else is awaited: an empty queue may be forgotten. Raises
        UnknownQueue where queues must be declared, TooManyQueues, and QueueClosed.
        """
        if name is None:
            return self.default
        found = self._queues.get(name)
        if found is not None:
            return found
        if self._settings.queue_create == "declared":
            raise UnknownQueue(
                f"there is no queue {name}, and this broker makes none unasked "
                "(--queue-create): declare it with --queues or PUT /queues/NAME"
            )
        return self._create(name)

    def declare(self, name: str, *, ordered_keys: bool) -> WaitingQueue:
        """Make the queue of this name, or change it; it is never forgotten.

        Raises QueueNotEmpty when the option would change for messages held; as ``named`` else.
        """
        found = self._queues.get(name)
        waiting = found or self._create(name, ordered_keys=ordered_keys)
        waiting.queue.order_keys(ordered_keys)
        self._declared.add(name)
        return waiting

    def restored(self, name: str) -> WaitingQueue:
        """The queue of a name that held messages before the broker started, made in any case."""
        return self._queues.get(name) or self._add(name, ordered_keys=False)

    def close(self) -> None:
        """Refuse publishes to all queues; consumers empty what is there. Idempotent."""
        self.closed = True
        for waiting in self:
            waiting.close()

    def stop(self) -> None:
        """Close, and send every waiter away."""
        self.closed = True
        for waiting in self:
            waiting.stop()

    def _create(self, name: str, *, ordered_keys: bool = False) -> WaitingQueue:
        if self.closed:
            raise QueueClosed("the broker is draining: it makes no queues")
        if len(self._queues) >= self._settings.max_queues:
            self._forget_useless()
        if len(self._queues) >= self._settings.max_queues:
            raise TooManyQueues(
                f"all {len(self._queues)} queues are in use, and no more may be made (--max-queues)"
            )
        return self._add(name, ordered_keys=ordered_keys)

    def _add(self, name: str, *, ordered_keys: bool) -> WaitingQueue:
        waiting = self._make(name, make_queue(self._settings, ordered_keys=ordered_keys))
        self._queues[name] = waiting
        return waiting

    def _forget_useless(self) -> None:
        for name, waiting in self.items():
            if name not in self._declared and waiting.is_useless():
                del self._queues[name]


def declared_queues(text: str) -> list[tuple[str, bool]]:
    """The names in ``--queues``, and whether each keeps the order of its keys.

    ``"jobs,orders:ordered"`` names two. Raises ConfigError.
    """
    declared = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name = entry.removesuffix(_ORDERED)
        if not NAME.fullmatch(name):
            raise ConfigError(f"--queues: {entry!r} is no name of a queue, nor NAME{_ORDERED}")
        declared.append((name, name != entry))
    return declared


def make_queue(settings: BrokerSettings, *, ordered_keys: bool = False) -> MessageQueue:
    """An empty queue within the settings' bounds."""
    limits = QueueLimits(
        max_messages=settings.queue_max_messages,
        max_bytes=settings.queue_max_bytes,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_attempts=settings.max_attempts,
    )
    prefix = secrets.token_hex(6) + "-"
    return MessageQueue(limits, lease_prefix=prefix, ordered_keys=ordered_keys)
