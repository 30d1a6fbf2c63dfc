"""What lands, kept for some minutes in the order in which it was committed, for live streams.

A position in that order is a snapshot of Postgres: what it sees has come before, what it does not
see is still to come. So nothing is missed and nothing comes twice, however the commits of several
collectors overlap. Landings are kept only while a ``demand`` lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import numpy as np
import pyarrow as pa

from gputel.errors import GputelError
from gputel.store import queries
from gputel.store.blocks.blocks import Blocks
from gputel.store.blocks.samples import Samples, concatenate
from gputel.store.read.reader import Connection, Reader
from gputel.store.read.records import Records
from gputel.threads import READING

_SQL = queries.load("landing")
_PART_SAMPLES = _BATCH_SAMPLES = 32_768
_SAMPLE_BYTES = 24


class LandingsGone(GputelError):
    """Some of what is asked for was not kept, or is no longer."""

    code = "landings_gone"


@dataclass(frozen=True)
class Position:
    """A snapshot of the store, as Postgres writes it, in an epoch of the demand."""

    epoch: int
    snapshot: str

    @property
    def completed(self) -> int:
        """How many transactions had: of two snapshots of a server, the later one has more."""
        _, end, running = self.snapshot.split(":")
        return int(end) - len([xid for xid in running.split(",") if xid])


@dataclass(frozen=True)
class Part:
    """Samples of one transaction, or some of them."""

    xid: str
    number: int
    samples: int


@dataclass(frozen=True)
class Window:
    """What landed after one position and up to another: in order, some parts at a time.

    ``whole``: all of it was kept for sure.
    """

    after: Position
    until: Position
    whole: bool
    batches: Sequence[Sequence[Part]]


async def add_landing(connection: Connection, blocks: Blocks) -> None:
    """Keep the samples of blocks that are landing in the transaction of this connection."""
    packed = await asyncio.to_thread(_pack, blocks)
    numbers, counts, payloads = zip(*packed, strict=True)
    await connection.execute(_SQL["add"], numbers, counts, payloads)


async def prune_landings(connection: Connection) -> None:
    """Drop what has been kept for long enough."""
    async with connection.transaction():
        await connection.execute(_SQL["drop_restored"])
        await connection.execute(_SQL["note_horizon"])
        await connection.execute(_SQL["prune"])


class Landings:
    """The reading side, over a reader's sessions. Raises StoreUnavailable or StoreError.

    ``keep`` and ``keep_bytes`` bound how much of what has landed can be read again.
    """

    def __init__(self, reader: Reader, keep: timedelta, keep_bytes: int) -> None:
        self._reader = reader
        self._keep, self._keep_bytes = keep, keep_bytes

    async def demand(self) -> int:
        """Have landings kept for ``keep`` from now on, and drop older ones; the epoch of that."""
        async with self._reader.session() as connection:
            await connection.execute(_SQL["drop_restored"])
            row = await connection.fetchrow(_SQL["demand"], self._keep, self._keep_bytes)
            if not row["begun"]:
                await connection.execute(_SQL["begin"], row["epoch"])
            await prune_landings(connection)
        epoch: int = row["epoch"]
        return epoch

    async def position(self, epoch: int) -> tuple[Position, bool] | None:
        """The present, and whether all that lands after it is kept: what began earlier may not be.

        None where that epoch has ended.
        """
        async with self._reader.session() as connection:
            row = await connection.fetchrow(_SQL["position"], epoch)
        if row is None:
            return None
        return Position(row["epoch"], row["snapshot"]), bool(row["whole"])

    async def since(self, after: Position) -> Window:
        """What landed after a position and is not older than the demand.

        Raises LandingsGone where some of it has been dropped.
        """
        rows = await self._between(after, None)
        first = rows[0]
        until = Position(first["epoch"], first["snapshot"])
        return Window(after, until, bool(first["whole"]), _batches(rows))

    async def between(self, after: Position, until: Position) -> Window:
        """All that landed after one position and up to another.

        Raises LandingsGone where some of it has been dropped, or may never have been kept.
        """
        rows = await self._between(after, until)
        if not rows[0]["whole"]:
            raise LandingsGone("some of what landed then may not have been kept")
        return Window(after, until, True, _batches(rows))

    async def _between(self, after: Position, until: Position | None) -> list[asyncpg.Record]:
        arguments = (after.snapshot, after.completed, until.snapshot if until else None)
        async with self._reader.session() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(_SQL["between"], *arguments)
        if rows[0]["epoch"] != after.epoch or not rows[0]["kept"]:
            raise LandingsGone("what landed then is no longer kept")
        return rows

    async def read(self, parts: Sequence[Part]) -> Records:
        """The records of a batch of a window, those of one transaction in order of time.

        Raises LandingsGone where one has been dropped.
        """
        wanted = ([part.xid for part in parts], [part.number for part in parts])
        async with self._reader.session() as connection:
            rows = await connection.fetch(_SQL["payloads"], *wanted)
            if len(rows) < len(parts):
                raise LandingsGone("some of what landed then has just been dropped")
            samples = await READING.run(_unpack, rows, parts)
            ids = np.unique(samples.series_id).tolist()
            labels = await self._reader.known.labels(connection, ids)
        return Records(samples, dict(zip(ids, labels, strict=True)))


def _batches(rows: Sequence[asyncpg.Record]) -> list[list[Part]]:
    """The parts of rows, as many together as may be held at once."""
    batches: list[list[Part]] = []
    room = 0
    for row in rows:
        if row["xid"] is None:
            continue
        part = Part(row["xid"], row["part"], row["samples"])
        if part.samples > room:
            batches.append([])
            room = _BATCH_SAMPLES
        batches[-1].append(part)
        room -= part.samples
    return batches


def _pack(blocks: Blocks) -> list[tuple[int, int, bytes]]:
    """Of each part its number, samples and payload, a column after the other, packed by lz4."""
    samples = Samples(blocks.series_id, blocks.ts, blocks.value)
    samples = samples.take(np.argsort(blocks.ts, kind="stable"))
    packed = []
    for number, start in enumerate(range(0, len(samples), _PART_SAMPLES)):
        part = samples.take(slice(start, start + _PART_SAMPLES))
        columns = (part.series_id, part.ts, part.value)
        raw = b"".join(column.astype(f"<{column.dtype.kind}8").tobytes() for column in columns)
        packed.append((number, len(part), pa.compress(raw, codec="lz4", asbytes=True)))
    return packed


def _unpack(rows: Sequence[asyncpg.Record], parts: Sequence[Part]) -> Samples:
    pieces = []
    for row, part in zip(rows, parts, strict=True):
        size = part.samples * _SAMPLE_BYTES
        raw = pa.decompress(row["payload"], size, codec="lz4", asbytes=True)
        series_id, ts, bits = np.frombuffer(raw, "<i8").reshape(3, part.samples)
        pieces.append(Samples(series_id, ts, bits.view("<f8")))
    return concatenate(pieces)
