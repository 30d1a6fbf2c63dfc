"""A journal in a directory, driven as the broker drives it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gputel.mq.journal.commits import JournalOptions
from gputel.mq.journal.files import JournalFiles
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.open import open_journal
from gputel.mq.journal.records import StoredDeath, StoredFailure, StoredMessage, encode_body, padded
from gputel.mq.journal.recovery import Recovery, recover
from gputel.mq.journal.space import Entry

SMALL = JournalOptions(segment_bytes=256 * 1024)


class Kept:
    """An open journal and the messages that it should hold."""

    def __init__(self, journal: Journal, recovered: Recovery, entries: dict[str, Entry]) -> None:
        self.journal = journal
        self.recovered = recovered
        self.entries = entries

    async def publish(self, *ids: str, payload: bytes = b"x" * 100) -> None:
        sizes = [padded(len(payload) + len(id_) + 100) for id_ in ids]
        amount = await self.journal.admit(sum(sizes), max(sizes))
        try:
            for id_ in ids:
                self._append(id_, payload)
        finally:
            self.journal.release(amount)
        await self.journal.confirm()

    def _append(self, id_: str, payload: bytes) -> None:
        number = self.journal.take_number()
        stored = StoredMessage(number, number, "", id_, "", payload, b"\x80")
        entry = self.entries[id_] = Entry(number, number, None, stored)
        self.journal.append(entry, stored)

    async def ack(self, *ids: str) -> None:
        for id_ in ids:
            self.journal.settle(self.entries.pop(id_))
        await self.journal.confirm()

    def deliver(self, id_: str, attempts: int) -> None:
        self.entries[id_].message.attempts = attempts
        self.journal.attempted(self.entries[id_], attempts)

    async def die(self, id_: str, reason: str) -> None:
        entry = self.entries[id_]
        entry.message.dead, entry.message.history = True, [StoredFailure(1, 5.0, reason)]
        self.journal.died(entry, StoredDeath(entry.number, 5.0, 1, entry.message.history))
        await self.journal.confirm()

    async def replay(self, id_: str) -> None:
        entry = self.entries[id_]
        entry.message.dead, entry.message.attempts = False, 0
        self.journal.replayed(entry)
        entry.message.order = entry.order
        await self.journal.confirm()


@asynccontextmanager
async def kept_in(
    directory: Path, options: JournalOptions = SMALL, files: JournalFiles | None = None
) -> AsyncIterator[Kept]:
    """Open a journal, take up what it holds, and close it in the end."""
    journal, recovered = await open_journal(
        directory, options, lambda entry: entry.message, files=files
    )
    entries = {}
    for found in recovered.in_order:
        stored = found.stored
        entry = entries[stored.id] = Entry(stored.number, stored.order, None, stored)
        journal.hold(entry, found.segment, found.size)
    await journal.ready()
    try:
        yield Kept(journal, recovered, entries)
    finally:
        await journal.close()


def ids_in(directory: Path) -> list[str]:
    """The ids of the messages that a directory holds, in the order of delivery."""
    return [found.stored.id for found in recover(directory).in_order]


def stored_size(stored: StoredMessage) -> int:
    return padded(len(encode_body(stored)))
