"""Landings: samples that are kept for some minutes in the order of their commits, for live streams.

A position in that order is a snapshot of Postgres. Commits that the snapshot sees come before the
position, all others after it. So no sample is missed and none comes twice, even if commits of
several collectors overlap. Landings are kept only while there is a ``demand`` for them.
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
    """Some of the requested landings were never kept, or have been dropped."""

    code = "landings_gone"


@dataclass(frozen=True)
class LandingPosition:
    """A snapshot of the store in Postgres' text form, and the epoch of the demand."""

    epoch: int
    snapshot: str

    @property
    def completed(self) -> int:
        """How many transactions had completed. A later snapshot of the same server has more."""
        _, end, running = self.snapshot.split(":")
        return int(end) - len([xid for xid in running.split(",") if xid])


@dataclass(frozen=True)
class LandingPart:
    """Samples of one transaction, or some of them."""

    xid: str
    number: int
    samples: int


@dataclass(frozen=True)
class LandingWindow:
    """What landed after one position and up to another: batches of parts, in order.

    ``whole`` is true if it is certain that all of it was kept.
    """

    after: LandingPosition
    until: LandingPosition
    whole: bool
    batches: Sequence[Sequence[LandingPart]]


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
        """Keep landings for ``keep`` from now on and drop older ones; return the epoch."""
        async with self._reader.session() as connection:
            await connection.execute(_SQL["drop_restored"])
            row = await connection.fetchrow(_SQL["demand"], self._keep, self._keep_bytes)
            if not row["begun"]:
                await connection.execute(_SQL["begin"], row["epoch"])
            await prune_landings(connection)
        epoch: int = row["epoch"]
        return epoch

    async def position(self, epoch: int) -> tuple[LandingPosition, bool] | None:
        """The present position, and whether everything that lands after it is kept.

        A transaction that began before the demand may land later and not be kept. None if the
        epoch has ended.
        """
        async with self._reader.session() as connection:
            row = await connection.fetchrow(_SQL["position"], epoch)
        if row is None:
            return None
        return LandingPosition(row["epoch"], row["snapshot"]), bool(row["whole"])

    async def since(self, after: LandingPosition) -> LandingWindow:
        """What landed after a position and is not older than the demand.

        Raises LandingsGone if some of it has been dropped.
        """
        rows = await self._between(after, None)
        first = rows[0]
        until = LandingPosition(first["epoch"], first["snapshot"])
        return LandingWindow(after, until, bool(first["whole"]), _batches(rows))

    async def between(self, after: LandingPosition, until: LandingPosition) -> LandingWindow:
        """Everything that landed after one position and up to another.

        Raises LandingsGone if some of it has been dropped, or may never have been kept.
        """
        rows = await self._between(after, until)
        if not rows[0]["whole"]:
            raise LandingsGone("some of what landed then may not have been kept")
        return LandingWindow(after, until, True, _batches(rows))

    async def _between(
        self, after: LandingPosition, until: LandingPosition | None
    ) -> list[asyncpg.Record]:
        arguments = (after.snapshot, after.completed, until.snapshot if until else None)
        async with self._reader.session() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(_SQL["between"], *arguments)
        if rows[0]["epoch"] != after.epoch or not rows[0]["kept"]:
            raise LandingsGone("what landed then is no longer kept")
        return rows

    async def read(self, parts: Sequence[LandingPart]) -> Records:
        """The records of one batch of a window. Records of one transaction are in order of time.

        Raises LandingsGone if a part has been dropped.
        """
        keys = ([part.xid for part in parts], [part.number for part in parts])
        async with self._reader.session() as connection:
            rows = await connection.fetch(_SQL["payloads"], *keys)
            if len(rows) < len(parts):
                raise LandingsGone("some of what landed then has just been dropped")
            samples = await READING.run(_unpack, rows, parts)
            ids = np.unique(samples.series_id).tolist()
            labels = await self._reader.known.labels(connection, ids)
        return Records(samples, dict(zip(ids, labels, strict=True)))


def _batches(rows: Sequence[asyncpg.Record]) -> list[list[LandingPart]]:
    """The parts of the rows, in batches that fit into memory."""
    batches: list[list[LandingPart]] = []
    room = 0
    for row in rows:
        if row["xid"] is None:
            continue
        part = LandingPart(row["xid"], row["part"], row["samples"])
        if part.samples > room:
            batches.append([])
            room = _BATCH_SAMPLES
        batches[-1].append(part)
        room -= part.samples
    return batches


def _pack(blocks: Blocks) -> list[tuple[int, int, bytes]]:
    """The number, sample count and payload of each part: its columns one by one, in lz4."""
    samples = Samples(blocks.series_id, blocks.ts, blocks.value)
    samples = samples.take(np.argsort(blocks.ts, kind="stable"))
    packed = []
    for number, start in enumerate(range(0, len(samples), _PART_SAMPLES)):
        part = samples.take(slice(start, start + _PART_SAMPLES))
        columns = (part.series_id, part.ts, part.value)
        raw = b"".join(column.astype(f"<{column.dtype.kind}8").tobytes() for column in columns)
        packed.append((number, len(part), pa.compress(raw, codec="lz4", asbytes=True)))
    return packed


def _unpack(rows: Sequence[asyncpg.Record], parts: Sequence[LandingPart]) -> Samples:
    pieces = []
    for row, part in zip(rows, parts, strict=True):
        size = part.samples * _SAMPLE_BYTES
        raw = pa.decompress(row["payload"], size, codec="lz4", asbytes=True)
        series_id, ts, bits = np.frombuffer(raw, "<i8").reshape(3, part.samples)
        pieces.append(Samples(series_id, ts, bits.view("<f8")))
    return concatenate(pieces)
