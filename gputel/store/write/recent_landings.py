"""Landings: samples that are kept for some minutes in the order of their commits.

Live streams follow them, and so does the memory of an api, which holds the newest hours.

A position in that order is a snapshot of Postgres. Commits that the snapshot sees come before the
position, all others after it. So no sample is missed and none comes twice, even if commits of
several collectors overlap. Landings are kept only while there is a ``demand`` for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

import asyncpg
import numpy as np
import pyarrow as pa

from gputel.errors import GputelError
from gputel.store import queries
from gputel.store.blocks.blocks import Blocks
from gputel.store.blocks.samples import EMPTY, Samples, concatenate
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


class Follower(Enum):
    """Who follows landings."""

    STREAM = "stream"
    """Live streams, which need all samples."""
    HEAD = "head"
    """The memory of an api, which needs the samples of its window, and when series ended."""


class Kind(Enum):
    """What a part of a landing has."""

    ALL = "a"  # samples of any time, from a collector of an older release, which noted no ends
    RECENT = "r"  # samples that are not older than the span of the demand
    OLDER = "o"  # others; or none: then it says that some landed
    ENDS = "e"  # when series ended, as samples
    DELETED = "x"  # none: it says that samples which landed before have been deleted


_SAMPLES = {Kind.ALL, Kind.RECENT, Kind.OLDER}


@dataclass(frozen=True)
class LandingPart:
    """Samples of one transaction, or some of them."""

    xid: str
    number: int
    samples: int
    kind: Kind


@dataclass(frozen=True)
class LandingWindow:
    """What landed after one position and up to another: batches of parts, in order.

    ``whole`` is true if it is certain that all of it was kept.
    """

    after: LandingPosition
    until: LandingPosition
    whole: bool
    now: datetime
    """When it was looked at, by the clock of Postgres."""
    parts: Sequence[LandingPart]

    @property
    def batches(self) -> list[list[LandingPart]]:
        """The parts with samples, in batches that fit into memory."""
        return in_batches(part for part in self.parts if part.kind in _SAMPLES and part.samples)


@dataclass(frozen=True)
class Wanted:
    """What of a landing is kept: ``all`` of it, and what is not older than ``recent_us``.

    None: no memory of an api follows.
    """

    all: bool
    recent_us: int | None

    def __bool__(self) -> bool:
        return self.all or self.recent_us is not None


async def add_landing(
    connection: Connection, blocks: Blocks, ends: Samples, wanted: Wanted
) -> None:
    """Keep what is wanted of what lands in the transaction of this connection."""
    parts = await asyncio.to_thread(_packed, blocks, ends, wanted)
    if parts:
        numbers = range(len(parts))
        await connection.execute(_SQL["add"], numbers, *map(list, zip(*parts, strict=True)))


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

    def __init__(
        self,
        reader: Reader,
        keep: timedelta,
        keep_bytes: int,
        follower: Follower = Follower.STREAM,
        span: timedelta | None = None,
    ) -> None:
        self._reader = reader
        self._keep, self._keep_bytes = keep, keep_bytes
        self._follower, self._span = follower.value, span

    async def demand(self) -> int:
        """Keep landings for ``keep`` from now on and drop older ones; return the epoch."""
        async with self._reader.session() as connection:
            await connection.execute(_SQL["drop_restored"])
            row = await connection.fetchrow(
                _SQL["demand"], self._follower, self._keep, self._keep_bytes, self._span
            )
            if not row["begun"]:
                await connection.execute(_SQL["begin"], self._follower, row["epoch"])
            await prune_landings(connection)
        epoch: int = row["epoch"]
        return epoch

    async def position(self, epoch: int) -> tuple[LandingPosition, bool] | None:
        """The present position, and whether everything that lands after it is kept.

        A transaction that began before the demand may land later and not be kept. None if the
        epoch has ended.
        """
        async with self._reader.session() as connection:
            row = await connection.fetchrow(_SQL["position"], self._follower, epoch)
        if row is None:
            return None
        return LandingPosition(row["epoch"], row["snapshot"]), bool(row["whole"])

    async def since(
        self, after: LandingPosition, connection: Connection | None = None
    ) -> LandingWindow:
        """What landed after a position and is not older than the demand.

        With the connection of a snapshot: up to this snapshot. Raises LandingsGone if some of it
        has been dropped.
        """
        return await self._between(after, None, connection)

    async def between(self, after: LandingPosition, until: LandingPosition) -> LandingWindow:
        """Everything that landed after one position and up to another.

        Raises LandingsGone if some of it has been dropped, or may never have been kept.
        """
        window = await self._between(after, until)
        if not window.whole:
            raise LandingsGone("some of what landed then may not have been kept")
        return replace(window, until=until)

    async def _between(
        self,
        after: LandingPosition,
        until: LandingPosition | None,
        connection: Connection | None = None,
    ) -> LandingWindow:
        snapshot = until.snapshot if until else None
        arguments = after.snapshot, after.completed, snapshot, self._follower
        rows = await self._fetch(connection, _SQL["between"], *arguments)
        first = rows[0]
        if first["epoch"] != after.epoch or not first["kept"]:
            raise LandingsGone("what landed then is no longer kept")
        parts = [
            LandingPart(row["xid"], row["part"], row["samples"], Kind(row["kind"].decode()))
            for row in rows
            if row["xid"] is not None
        ]
        seen = LandingPosition(first["epoch"], first["snapshot"])
        return LandingWindow(after, seen, bool(first["whole"]), first["now"], parts)

    async def read(self, parts: Sequence[LandingPart]) -> Records:
        """The records of one batch of a window. Records of one transaction are in order of time.

        Raises LandingsGone if a part has been dropped.
        """
        samples = await self.samples(parts)
        ids = np.unique(samples.series_id).tolist()
        async with self._reader.session() as connection:
            labels = await self._reader.known.labels(connection, ids)
        return Records(samples, dict(zip(ids, labels, strict=True)))

    async def samples(
        self, parts: Sequence[LandingPart], connection: Connection | None = None
    ) -> Samples:
        """The samples of one batch of a window, as ``read`` has them."""
        keys = ([part.xid for part in parts], [part.number for part in parts])
        rows = await self._fetch(connection, _SQL["payloads"], *keys)
        if len(rows) < len(parts):
            raise LandingsGone("some of what landed then has just been dropped")
        return await READING.run(_unpack, rows, parts)

    async def _fetch(
        self, connection: Connection | None, sql: str, *arguments: object
    ) -> list[asyncpg.Record]:
        if connection is not None:
            return await connection.fetch(sql, *arguments)  # type: ignore[no-any-return]
        async with self._reader.session() as own:
            return await own.fetch(sql, *arguments)  # type: ignore[no-any-return]


def in_batches(parts: Iterable[LandingPart]) -> list[list[LandingPart]]:
    """The parts, in order, in batches that fit into memory."""
    batches: list[list[LandingPart]] = []
    room = 0
    for part in parts:
        if part.samples > room:
            batches.append([])
            room = _BATCH_SAMPLES
        batches[-1].append(part)
        room -= part.samples
    return batches


def _packed(blocks: Blocks, ends: Samples, wanted: Wanted) -> list[tuple[str, int, bytes]]:
    """The kind, sample count and payload of each part that is wanted."""
    samples = Samples(blocks.series_id, blocks.ts, blocks.value)
    parts: list[tuple[str, int, bytes]] = []
    if wanted.recent_us is not None:
        parts += _parts(Kind.ENDS, ends)
        recent = samples.ts >= wanted.recent_us
        older = samples.take(~recent) if wanted.all else EMPTY
        parts += _parts(Kind.OLDER, older)
        if not len(older) and not recent.all():
            parts.append((Kind.OLDER.value, 0, b""))
        return parts + _parts(Kind.RECENT, samples if recent.all() else samples.take(recent))
    return _parts(Kind.OLDER, samples)


def _parts(kind: Kind, samples: Samples) -> list[tuple[str, int, bytes]]:
    """Samples in order of time, in parts: the columns of each one by one, in lz4."""
    samples = samples.take(np.argsort(samples.ts, kind="stable"))
    packed = []
    for start in range(0, len(samples), _PART_SAMPLES):
        part = samples.take(slice(start, start + _PART_SAMPLES))
        columns = (part.series_id, part.ts, part.value)
        raw = b"".join(column.astype(f"<{column.dtype.kind}8").tobytes() for column in columns)
        packed.append((kind.value, len(part), pa.compress(raw, codec="lz4", asbytes=True)))
    return packed


def _unpack(rows: Sequence[asyncpg.Record], parts: Sequence[LandingPart]) -> Samples:
    pieces = []
    for row, part in zip(rows, parts, strict=True):
        size = part.samples * _SAMPLE_BYTES
        raw = pa.decompress(row["payload"], size, codec="lz4", asbytes=True)
        series_id, ts, bits = np.frombuffer(raw, "<i8").reshape(3, part.samples)
        pieces.append(Samples(series_id, ts, bits.view("<f8")))
    return concatenate(pieces)
