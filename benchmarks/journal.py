"""Durable batches through the journal: 100 messages of 300 bytes a publish, 8 in flight.

    python benchmarks/journal.py [DIRECTORY]

Prints messages a second for each sync policy, and how often the disk was synced for them. It
measures the journal alone, without the broker's HTTP around it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from gputel.mq.journal.commits import JournalOptions
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.open import open_journal
from gputel.mq.journal.records import StoredMessage
from gputel.mq.journal.space import Entry

BATCH, SIZE, IN_FLIGHT, BATCHES = 100, 300, 8, 1000


async def publisher(journal: Journal, batches: list[int], entries: list[Entry]) -> None:
    payload = os.urandom(SIZE)
    while batches:
        batch = batches.pop()
        amount = await journal.admit(BATCH * (SIZE + 100), SIZE + 100)
        for n in range(BATCH):
            number = journal.take_number()
            stored = StoredMessage(number, number, "default", f"{batch}/{n}", "", payload, b"\x80")
            entry = Entry(number, number, None, stored)
            journal.append(entry, stored)
            entries.append(entry)
        journal.release(amount)
        await journal.confirm()


async def measure(directory: Path, sync: str) -> None:
    journal, _ = await open_journal(directory, JournalOptions(sync=sync), lambda e: e.message)
    await journal.ready()
    entries: list[Entry] = []
    batches = list(range(BATCHES))
    started = time.perf_counter()
    await asyncio.gather(*(publisher(journal, batches, entries) for _ in range(IN_FLIGHT)))
    published_s = time.perf_counter() - started
    commits, started = journal.commits, time.perf_counter()
    for at in range(0, len(entries), BATCH):
        for entry in entries[at : at + BATCH]:
            journal.settle(entry)
        await journal.confirm()
    settled_s = time.perf_counter() - started
    await journal.close()
    count = BATCH * BATCHES
    print(
        f"{sync:9} publish {count / published_s:9,.0f} messages/s in {commits} commits"
        f"   ack {count / settled_s:9,.0f} messages/s, one batch at a time"
    )


def main() -> None:
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for sync in ("always", "interval", "off"):
        with tempfile.TemporaryDirectory(dir=base, prefix="journal-") as directory:
            asyncio.run(measure(Path(directory), sync))


if __name__ == "__main__":
    main()
