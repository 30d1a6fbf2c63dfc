"""Queues whose messages outlive the broker: writes to ``--journal``, and restores from it.

Without ``--journal`` nothing here is used. ``docs/journal.md`` has the promises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from gputel import metrics
from gputel.broker.durable.declarations import Declarations
from gputel.broker.durable.queue import JournaledQueue, JournaledWaitingQueue
from gputel.broker.queues.total import Total
from gputel.broker.queues.waiting import WaitingQueue
from gputel.config.settings import BrokerSettings
from gputel.mq.core.queue import MessageQueue
from gputel.mq.journal.commits import JournalOptions
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.open import open_journal
from gputel.mq.journal.recovery import Recovery
from gputel.mq.journal.space import Entry

log = logging.getLogger("gputel.broker")

_SHOWN = 20


class Durability:
    """The journal of a broker, and the queues that it restores.

    ``declared`` has the queues that clients declared before, and whether each has ordered keys.
    """

    def __init__(
        self,
        journal: Journal,
        recovered: Recovery,
        declarations: Declarations,
        declared: Mapping[str, bool],
    ) -> None:
        self.journal = journal
        self._declarations = declarations
        self.declared = declared
        self._recovered = recovered

    def make(self, name: str, queue: MessageQueue, total: Total) -> WaitingQueue:
        """A waiting queue with this journal and the bounds of ``queue``; ``total`` bounds all."""
        journaled = JournaledQueue(
            queue.limits, lease_prefix=queue.lease_prefix, ordered_keys=queue.ordered_keys
        )
        journaled.keep_in(self.journal, name)
        return JournaledWaitingQueue(journaled, self.journal, total)

    async def keep(self, declared: Callable[[], Mapping[str, bool]]) -> None:
        """Write what ``declared`` returns, and wait until it is on the disk. Raises JournalFull."""
        await self._declarations.keep(declared)

    async def restore(self, queue_of: Callable[[str], WaitingQueue]) -> None:
        """Put the recovered messages into the queues, in their order."""
        for message in self._recovered.in_order:
            stored = message.stored
            entry = Entry(stored.number, stored.order, None, None)
            self.journal.hold(entry, message.segment, message.size)
            waiting = queue_of(stored.queue)
            assert isinstance(waiting.queue, JournaledQueue)
            waiting.queue.restore(entry, stored, waiting.now())
            waiting.count()
        self._log_recovery()
        self._recovered = Recovery()
        await self.journal.ready()

    def _log_recovery(self) -> None:
        recovered = self._recovered
        for torn in recovered.torn[:_SHOWN]:
            log.warning("journal: %s: the broker ended while it wrote this record", torn)
        for damage in recovered.damage[:_SHOWN]:
            log.error("journal: %s; what it held is lost", damage)
        if recovered.records:
            log.info(
                "journal: %d messages came back from %d records in %d segments, %d damaged places",
                len(recovered.live),
                recovered.records,
                len(recovered.segments),
                len(recovered.damage),
            )


@asynccontextmanager
async def durability(settings: BrokerSettings) -> AsyncIterator[Durability]:
    """The journal of ``--journal`` while the context lasts.

    Raises JournalInUse, UnknownFormat, BadDeclarations, JournalFull, and OSError.
    """
    assert settings.journal is not None
    options = JournalOptions(
        settings.journal_sync, settings.journal_sync_interval_s, settings.journal_segment_bytes
    )
    journal, recovered = await open_journal(
        settings.journal,
        options,
        lambda entry: entry.owner.stored(entry),
        observe=_observe,
    )
    try:
        declarations = Declarations(settings.journal)
        declared = await asyncio.to_thread(declarations.read)
        yield Durability(journal, recovered, declarations, declared)
    finally:
        await journal.close()


def _observe(commit_s: float, sync_s: float | None) -> None:
    metrics.BROKER_JOURNAL_SECONDS.observe(commit_s)
    if sync_s is not None:
        metrics.BROKER_JOURNAL_SYNC_SECONDS.observe(sync_s)
