"""Durable batches through the journal and through SQLite: 100 messages of 300 bytes, 8 in flight.

    python benchmarks/journal.py [DIRECTORY]

Prints messages a second for each sync policy, in how many commits, and the ratio to SQLite. Both
are measured alone, without the broker's HTTP around them, in turns, and the medians are shown.
SQLite is used as it would be in the broker: WAL, one writer in a thread, which puts all that waits
into one transaction. `always` is `synchronous=FULL`, which syncs each commit; `off` is `OFF`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol

from gputel.mq.journal.commits import JournalOptions
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.open import open_journal
from gputel.mq.journal.records import StoredMessage
from gputel.mq.journal.space import Entry

BATCH, SIZE, IN_FLIGHT, BATCHES = 100, 300, 8, 1000


ROUNDS = 5


class Speed(NamedTuple):
    """Messages a second, and the commits of all publishes."""

    publish: float
    ack: float
    commits: int


class Store(Protocol):
    """What keeps the messages."""

    commits: int

    async def publish(self, batch: int, payload: bytes) -> None:
        """Keep a batch, and return when it is safe."""

    async def ack(self, at: int) -> None:
        """Drop the batch that came as number ``at``, and return when that is safe."""

    async def close(self) -> None:
        """Close the files."""


class JournalStore:
    """The journal of the broker."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._batches: list[list[Entry]] = []

    @classmethod
    async def open(cls, directory: Path, sync: str) -> JournalStore:
        """A new journal."""
        options = JournalOptions(sync=sync)
        journal, _ = await open_journal(directory, options, lambda entry: entry.message)
        await journal.ready()
        return cls(journal)

    @property
    def commits(self) -> int:
        """The commits until now."""
        return self._journal.commits

    async def publish(self, batch: int, payload: bytes) -> None:
        """Keep a batch."""
        journal, entries = self._journal, []
        amount = await journal.admit(BATCH * (SIZE + 100), SIZE + 100)
        for n in range(BATCH):
            number = journal.take_number()
            stored = StoredMessage(number, number, "default", f"{batch}/{n}", "", payload, b"\x80")
            entry = Entry(number, number, None, stored)
            journal.append(entry, stored)
            entries.append(entry)
        journal.release(amount)
        await journal.confirm()
        self._batches.append(entries)

    async def ack(self, at: int) -> None:
        """Drop a batch."""
        for entry in self._batches[at]:
            self._journal.settle(entry)
        await self._journal.confirm()

    async def close(self) -> None:
        """Close the files."""
        await self._journal.close()


class SqliteStore:
    """A table of messages in SQLite, with one writer in a thread."""

    def __init__(self, directory: Path, sync: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: list[tuple[str, list[tuple[object, ...]], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._batches: list[list[int]] = []
        self._number = 0
        self.commits = 0
        self._db = self._thread.submit(self._open, directory, sync).result()

    @staticmethod
    def _open(directory: Path, sync: str) -> sqlite3.Connection:
        db = sqlite3.connect(directory / "queue.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if sync == 'always' else 'OFF'}")
        db.execute(
            "CREATE TABLE messages (number INTEGER PRIMARY KEY, queue TEXT, id TEXT, key TEXT, "
            "payload BLOB, metadata BLOB)"
        )
        return db

    async def publish(self, batch: int, payload: bytes) -> None:
        """Keep a batch."""
        numbers = range(self._number, self._number + BATCH)
        self._number += BATCH
        rows: list[tuple[object, ...]] = [
            (number, "default", f"{batch}/{n}", "", payload, b"\x80")
            for n, number in enumerate(numbers)
        ]
        await self._write("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._batches.append(list(numbers))

    async def ack(self, at: int) -> None:
        """Drop a batch."""
        rows: list[tuple[object, ...]] = [(number,) for number in self._batches[at]]
        await self._write("DELETE FROM messages WHERE number = ?", rows)

    async def _write(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((sql, rows, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._commit_all())
        await done

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            await loop.run_in_executor(self._thread, self._commit, group)
            self.commits += 1
            for _, _, done in group:
                done.set_result(None)
        self._writer = None

    def _commit(
        self, group: list[tuple[str, list[tuple[object, ...]], asyncio.Future[None]]]
    ) -> None:
        self._db.execute("BEGIN")
        for sql, rows, _ in group:
            self._db.executemany(sql, rows)
        self._db.execute("COMMIT")

    async def close(self) -> None:
        """Close the files."""
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()


async def publisher(store: Store, batches: list[int]) -> None:
    payload = os.urandom(SIZE)
    while batches:
        await store.publish(batches.pop(), payload)


async def measure(store: Store) -> Speed:
    batches = list(range(BATCHES))
    started = time.perf_counter()
    await asyncio.gather(*(publisher(store, batches) for _ in range(IN_FLIGHT)))
    published_s = time.perf_counter() - started
    commits, started = store.commits, time.perf_counter()
    for at in range(BATCHES):
        await store.ack(at)
    settled_s = time.perf_counter() - started
    await store.close()
    count = BATCH * BATCHES
    return Speed(count / published_s, count / settled_s, commits)


async def measure_journal(directory: Path, sync: str) -> Speed:
    return await measure(await JournalStore.open(directory, sync))


async def measure_sqlite(directory: Path, sync: str) -> Speed:
    return await measure(SqliteStore(directory, sync))


def main() -> None:
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for sync in ("always", "off"):
        speeds: dict[str, list[Speed]] = {"journal": [], "sqlite": []}
        for _ in range(ROUNDS):
            for name, measured in (("journal", measure_journal), ("sqlite", measure_sqlite)):
                with tempfile.TemporaryDirectory(dir=base, prefix="journal-") as directory:
                    speeds[name].append(asyncio.run(measured(Path(directory), sync)))
        medians = {
            name: Speed(*map(median, zip(*rounds, strict=True))) for name, rounds in speeds.items()
        }
        for name, speed in medians.items():
            print(
                f"{sync:7} {name:8} publish {speed.publish:9,.0f} messages/s in "
                f"{speed.commits:,.0f} commits   ack {speed.ack:9,.0f} messages/s"
            )
        ours, theirs = medians["journal"], medians["sqlite"]
        print(
            f"{sync:7} ratio    publish {ours.publish / theirs.publish:9.2f}"
            f"   ack {ours.ack / theirs.ack:.2f}"
        )


if __name__ == "__main__":
    main()
