"""The queues of one broker, by name."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from gputel.broker.queues.total import Total
from gputel.broker.queues.waiting import WaitingQueue
from gputel.config.settings import BrokerSettings
from gputel.errors import (
    BadRequest,
    ConfigError,
    QueueClosed,
    QueueNotEmpty,
    TooManyQueues,
    UnknownQueue,
)
from gputel.mq.core.queue import MessageQueue, QueueLimits

if TYPE_CHECKING:
    from gputel.mq.journal.journal import Journal

DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ORDERED = ":ordered"
_TOLD = 5


class Durable(Protocol):
    """Keeps queues when the broker ends: ``gputel.broker.durable.durability.Durability``."""

    @property
    def journal(self) -> Journal:
        """The journal that keeps their messages."""

    @property
    def declared(self) -> Mapping[str, bool]:
        """The queues that clients declared before, and whether each has ordered keys."""

    def make(self, name: str, queue: MessageQueue, total: Total) -> WaitingQueue:
        """A waiting queue with the bounds of ``queue``, and the bound of all together."""

    async def keep(self, declared: Callable[[], Mapping[str, bool]]) -> None:
        """Store what ``declared`` returns for the next start. Raises JournalFull."""


class Queues:
    """All queues of a broker, each within the settings' bounds. The default one is always there.

    When there are too many queues, those that nobody declared, that hold nothing and that no
    client waits for are forgotten.
    """

    def __init__(self, settings: BrokerSettings, durable: Durable | None = None) -> None:
        self._settings = settings
        self._durable = durable
        self.total = Total(most_bytes(settings), settings.requests_max_bytes // 2)
        self.total.reclaim = self._reclaim
        self._queues: dict[str, WaitingQueue] = {}
        self._declared: set[str] = {DEFAULT}
        self._kept: set[str] = set()
        self._dropping: set[asyncio.Future[None]] = set()
        self.closed = False
        self.default = self._create(DEFAULT)
        for name, ordered_keys in declared_queues(settings.queues or ""):
            self.declare(name, ordered_keys=ordered_keys)
        if durable:
            self._declare_kept(durable.declared)

    @property
    def journal(self) -> Journal | None:
        """The journal that keeps the queues, if there is one."""
        return self._durable.journal if self._durable else None

    def __iter__(self) -> Iterator[WaitingQueue]:
        return iter(list(self._queues.values()))

    def items(self) -> list[tuple[str, WaitingQueue]]:
        """Names and queues, by name."""
        return sorted(self._queues.items())

    def existing(self, name: str | None) -> WaitingQueue:
        """The queue with this name; None: the default one. Raises UnknownQueue."""
        if name is None:
            return self.default
        queue = self._queues.get(name)
        if queue is None:
            raise UnknownQueue(f"there is no queue {name}; GET /queues tells which there are")
        return queue

    def named(self, name: str | None) -> WaitingQueue:
        """The queue with this name, made if needed; None: the default one.

        Use the queue before the next await: an empty queue may be forgotten. Raises UnknownQueue
        when queues must be declared, TooManyQueues, and QueueClosed.
        """
        if name is None:
            return self.default
        waiting = self._queues.get(name)
        if waiting is not None:
            return waiting
        if self._settings.queue_create == "declared":
            raise UnknownQueue(
                f"there is no queue {name}, and this broker has only declared queues "
                "(--queue-create): declare it with --queues or PUT /queues/NAME"
            )
        return self._create(name)

    def declare(self, name: str, *, ordered_keys: bool | None) -> WaitingQueue:
        """Make the queue with this name, or change it; it is never forgotten.

        None keeps the option, which is false in a new queue. Raises QueueNotEmpty when messages
        wait and the option would change; else as ``named``.
        """
        waiting = self._queues.get(name) or self._create(name, ordered_keys=bool(ordered_keys))
        if ordered_keys is not None:
            waiting.queue.order_keys(ordered_keys)
        self._declared.add(name)
        return waiting

    async def declare_for_good(self, name: str, *, ordered_keys: bool | None) -> WaitingQueue:
        """As ``declare``; with a journal, the queue is also there after a restart.

        Raises as ``declare``; JournalFull when it is declared but a restart would forget it.
        """
        waiting = self.declare(name, ordered_keys=ordered_keys)
        self._kept.add(name)
        await self._keep()
        return waiting

    async def delete(self, name: str, *, force: bool) -> int:
        """Delete a queue; returns how many messages were dropped with it.

        Clients that wait there get an error. Raises UnknownQueue; BadRequest for the default queue;
        QueueNotEmpty when it holds messages, unless ``force``; JournalFull when it is deleted but
        a restart would bring it back.
        """
        if name == DEFAULT:
            raise BadRequest(f"the queue {DEFAULT} is always there: it cannot be deleted")
        waiting = self.existing(name)
        count = len(waiting.queue)
        if count and not force:
            raise QueueNotEmpty(
                f"the queue {name} holds {count} messages, in flight and dead letters included: "
                "empty it, or drop them with ?force=true"
            )
        del self._queues[name]
        self._declared.discard(name)
        waiting.stop(f"the queue {name} was deleted")
        dropping = asyncio.ensure_future(self._drop(name, waiting))
        self._dropping.add(dropping)
        dropping.add_done_callback(self._dropping.discard)
        await asyncio.shield(dropping)  # it is completed even if the client leaves
        return count

    def restored(self, name: str) -> WaitingQueue:
        """The queue for recovered messages, made even when there are too many queues."""
        return self._queues.get(name) or self._add(name, ordered_keys=False)

    def close(self) -> None:
        """Refuse publishes to all queues; consumers can empty them. Idempotent."""
        self.closed = True
        for waiting in self:
            waiting.close()

    def stop(self) -> None:
        """Close all queues; clients that wait get an error."""
        self.closed = True
        for waiting in self:
            waiting.stop()

    def _create(self, name: str, *, ordered_keys: bool = False) -> WaitingQueue:
        if self.closed:
            raise QueueClosed("the broker is draining: it makes no new queues")
        if len(self._queues) >= self._settings.max_queues:
            self._forget_useless()
        if len(self._queues) >= self._settings.max_queues:
            raise TooManyQueues(
                f"all {len(self._queues)} queues are in use, and no more may be made (--max-queues)"
            )
        return self._add(name, ordered_keys=ordered_keys)

    def _add(self, name: str, *, ordered_keys: bool) -> WaitingQueue:
        queue = make_queue(self._settings, ordered_keys=ordered_keys)
        waiting = (
            self._durable.make(name, queue, self.total)
            if self._durable
            else WaitingQueue(queue, self.total)
        )
        waiting.name = name
        self._queues[name] = waiting
        return waiting

    def _reclaim(self, lacking: int) -> bool:
        """Drop dead letters beyond their share of all queues; first where there are most."""
        share = int(self._settings.dead_letters_share * self.total.max_bytes)
        if self.total.dead - share < lacking:
            return False
        for waiting in sorted(self, key=lambda each: -each.queue.dead_letters.bytes):
            if lacking <= 0 or not waiting.queue.dead_letters:
                break
            while lacking > 0 and waiting.queue.dead_letters:
                lacking -= waiting.queue.drop_oldest_dead_letter()
            waiting.count()
            waiting.tell_dropped()
        return lacking <= 0  # else some are of a queue that is being deleted

    def surplus(self) -> str | None:
        """What to tell of dead letters that have more room than their share, or were dropped."""
        told = []
        for name, waiting in self.items():
            queue = waiting.queue
            dropped = bool(queue.dead_letters) and queue.counters.dead_dropped
            if dropped or any(queue.surplus_of_dead_letters):
                told.append(
                    f"queue {name} has {len(queue.dead_letters)} dead letters, and dropped "
                    f"{queue.counters.dead_dropped} for new messages"
                )
        if not told:
            return None
        return "; ".join(told[:_TOLD]) + ": see `gputel queue dead-letters`, replay or purge them"

    def _declare_kept(self, kept: Mapping[str, bool]) -> None:
        for name, ordered_keys in kept.items():
            self._kept.add(name)
            if name == DEFAULT:
                self.default.queue.order_keys(ordered_keys)
            elif name not in self._declared:  # --queues has precedence
                self._declared.add(name)
                self._add(name, ordered_keys=ordered_keys)

    async def _drop(self, name: str, waiting: WaitingQueue) -> None:
        kept = name in self._kept
        self._kept.discard(name)
        await waiting.drop_all()
        if kept:
            await self._keep()
        if waiting.confirm is not None:
            await waiting.confirm()

    async def _keep(self) -> None:
        if self._durable:
            await self._durable.keep(
                lambda: {
                    name: waiting.queue.ordered_keys
                    for name, waiting in self.items()
                    if name in self._kept
                }
            )

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
            raise ConfigError(f"--queues: {entry!r} is neither a queue name nor NAME{_ORDERED}")
        declared.append((name, name != entry))
    return declared


def most_bytes(settings: BrokerSettings) -> int:
    """Most bytes that all queues hold together: as set, else those of two full queues."""
    return settings.broker_max_bytes or 2 * settings.queue_max_bytes


def make_queue(settings: BrokerSettings, *, ordered_keys: bool = False) -> MessageQueue:
    """An empty queue within the settings' bounds."""
    limits = QueueLimits(
        max_messages=settings.queue_max_messages,
        max_bytes=min(settings.queue_max_bytes, most_bytes(settings)),
        visibility_timeout_s=settings.visibility_timeout_s,
        max_attempts=settings.max_attempts,
        dead_letters_share=settings.dead_letters_share,
    )
    prefix = secrets.token_hex(6) + "-"
    return MessageQueue(limits, lease_prefix=prefix, ordered_keys=ordered_keys)
