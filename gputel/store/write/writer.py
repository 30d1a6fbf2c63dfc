"""The writer: many record batches become one transaction that lands each exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import compress
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel import metrics
from gputel.errors import DataRefused, StoreError, StoreUnavailable
from gputel.model.columns import STALE_BITS, TIMESTAMP, VALUE
from gputel.store.blocks.blocks import Blocks, Int64, make_blocks
from gputel.store.blocks.copy_format import (
    COLUMNS,
    FRAME_COLUMNS,
    copy_payload,
    frame_payload,
    payload_by_stream,
)
from gputel.store.blocks.copy_in import copy_in
from gputel.store.blocks.frames import FrameCandidate, frame_candidates, frames_of
from gputel.store.blocks.samples import EMPTY, EPOCH, Samples, concatenate, micros
from gputel.store.clock import Clocks
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.series_reader import moment
from gputel.store.write.admission import Admission, Rejected, Window
from gputel.store.write.recent_landings import Wanted, add_landing
from gputel.store.write.repeats import find_stored, has_repeats, without_repeats
from gputel.store.write.series_index import Fingerprinted, Known, SeriesIndex, fingerprint
from gputel.store.write.series_lists import SeriesLists
from gputel.store.write.sightings import Sightings, sightings

_FREE_TRIES = 2  # before a commit has removals of series wait for it
_HOUR, _HOUR_US = timedelta(hours=1), 3_600_000_000


@dataclass(frozen=True)
class Chunk:
    """The chunk of a stream in one message, and how many of its lines were rejected or skipped."""

    stream_id: str
    first_row: int
    rejected: int = field(default=0, compare=False)
    skipped: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Arrival:
    """One message to land. If it has no chunk, a copy of it is recognised by its id alone."""

    message_id: str
    chunk: Chunk | None
    batch: pa.RecordBatch


@dataclass(frozen=True)
class _Prepared:
    blocks: Blocks
    payload: list[memoryview]  # of those that are in no frame
    frames: list[memoryview]
    unlisted: list[FrameCandidate]  # blocks that could have been a frame
    sightings: Sightings | None
    hours: list[datetime]  # of the samples
    ends: Samples  # of series: when, and the ids
    rejected: list[Rejected]  # one for each arrival
    repeats: list[int]  # likewise: rows whose series and instant the store has already


class _SeriesRemoved(Exception):
    """Series have been removed from the store since the ids of these were looked up."""


class Writer:
    """Lands arrivals. All workers of a process share one writer."""

    def __init__(self, pool: asyncpg.Pool, admission: Admission | None = None) -> None:
        self._pool = pool
        self._admission = admission or Admission()
        self._clocks = Clocks(pool)
        self._sql = load("writer")
        self._series = SeriesIndex(pool)
        self._lists = SeriesLists(pool)
        self._days: set[int] = set()
        self._numbers: dict[str, int] = {}  # of streams of files, by stream id, as last claimed

    async def land(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Commit the arrivals that have not landed before, all of them or none.

        Returns True for an arrival whose rows landed now, and False for a copy. Rows that the
        admission refuses do not land; they count as rejects of their chunk. Raises
        StoreUnavailable if nothing landed or the answer was lost: landing them again is safe.
        Raises StoreError if something in these arrivals can never land.
        """
        batches = await asyncio.to_thread(_fingerprint_all, arrivals)
        for _ in range(_FREE_TRIES):
            with suppress(_SeriesRemoved):
                return await self._land(arrivals, batches)
        # Let no series be removed meanwhile: removals without a pause could starve this commit.
        async with store_errors(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._sql["hold_removals"])
            while True:
                with suppress(_SeriesRemoved):  # what is known may be older than the lock, once
                    return await self._land(arrivals, batches)

    async def _land(
        self, arrivals: Sequence[Arrival], batches: Sequence[Fingerprinted]
    ) -> list[bool]:
        known = await self._series.learn(batches)
        keeps_frames = await self._lists.keeps_frames()
        lists = self._lists.known(known.removals) if keeps_frames else None
        window = self._admission.between(*await self._clocks.span_us())
        prepare = partial(_prepare, known=known, lists=lists, window=window)
        streams = self._streams_of(arrivals)
        prepared = await asyncio.to_thread(prepare, batches, streams, EMPTY)
        stored = await find_stored(self._pool, prepared.blocks, prepared.sightings)
        if len(stored):
            prepared = await asyncio.to_thread(prepare, batches, streams, stored)
        await self._ensure_days(prepared.blocks)
        try:
            async with (
                store_errors(),
                self._pool.acquire() as connection,
                connection.transaction(isolation="read_committed"),
            ):
                landed = await self._claim(connection, arrivals, prepared.rejected)
                fresh = [*compress(arrivals, landed)]
                of_fresh = self._streams_of(fresh)
                if of_fresh != streams:  # there are copies, or the claim told a stream's number
                    batches = [*compress(batches, landed)]
                    prepared = await asyncio.to_thread(prepare, batches, of_fresh, stored)
                await self._note_repeats(connection, fresh, prepared.repeats)
                await self._write(connection, prepared, known)
        except _SeriesRemoved:
            await self._series.forget(known)
            raise
        except DataRefused as error:
            if not _lacks_partition(error.__cause__):
                raise
            await self._make_days_again(prepared.blocks)
            raise StoreUnavailable(f"{error.message}; its day has been made again") from error
        metrics.COLLECTOR_ROWS_LANDED.inc(len(prepared.blocks.ts))
        metrics.COLLECTOR_ROWS_REPEATED.inc(sum(prepared.repeats))
        for rejected in prepared.rejected:
            rejected.count()
        with suppress(StoreError):  # lists spare space; what has landed stays
            await self._lists.meet(prepared.blocks, prepared.unlisted, known.removals)
        return landed

    async def prune_ledger(self, window_s: float) -> None:
        """Forget ledger entries older than the window."""
        async with store_errors():
            await self._pool.execute(self._sql["prune_ledger"], window_s)

    async def _ensure_days(self, blocks: Blocks) -> None:
        for day in blocks.days.tolist():
            if day not in self._days:
                async with store_errors():
                    await self._pool.execute(self._sql["ensure_day"], _day(day))
                self._days.add(day)

    async def _make_days_again(self, blocks: Blocks) -> None:
        """Make days that have been dropped. Raises StoreError if a day's table is only detached."""
        self._days.clear()
        await self._ensure_days(blocks)
        days = [_day(day) for day in blocks.days.tolist()]
        async with store_errors():
            detached = await self._pool.fetch(self._sql["detached_days"], days)
        if detached:
            names = ", ".join(f"sample_block_{row['day']:%Y%m%d}" for row in detached[:10])
            raise StoreError(
                f"there is a table {names} that is no partition of sample_block: attach it again, "
                "rename it, or drop it"
            )

    async def _claim(
        self,
        connection: asyncpg.Connection,
        arrivals: Sequence[Arrival],
        rejected: Sequence[Rejected],
    ) -> list[bool]:
        chunks = [arrival.chunk for arrival in arrivals if arrival.chunk]
        loose = [arrival.message_id for arrival in arrivals if not arrival.chunk]
        claimed: set[Chunk | str] = set()
        if chunks:
            keys = ([c.stream_id for c in chunks], [c.first_row for c in chunks])
            rows = await connection.fetch(self._sql["claim_leases"], *keys)
            claimed |= {Chunk(row["stream_id"], row["first_row"]) for row in rows}
            self._numbers |= {row["stream_id"]: row["number"] for row in rows if row["number"]}
        if loose:
            rows = await connection.fetch(self._sql["claim_ledger"], loose)
            claimed |= {row["message_id"] for row in rows}
        landed = []
        for arrival in arrivals:
            key = arrival.chunk or arrival.message_id
            landed.append(key in claimed)
            claimed.discard(key)
        await self._note_rejects(connection, arrivals, landed, rejected)
        return landed

    def _streams_of(self, arrivals: Sequence[Arrival]) -> list[int]:
        """The number of the stream of each arrival, as far as it is known before the claim."""
        return [self._numbers.get(a.chunk.stream_id, 0) if a.chunk else 0 for a in arrivals]

    async def _note_rejects(
        self,
        connection: asyncpg.Connection,
        arrivals: Sequence[Arrival],
        landed: Sequence[bool],
        rejected: Sequence[Rejected],
    ) -> None:
        noted = []
        for arrival, new, more in zip(arrivals, landed, rejected, strict=True):
            if not new or not (chunk := arrival.chunk):
                continue
            if (count := chunk.rejected + more.total) or chunk.skipped:
                noted.append((chunk.stream_id, chunk.first_row, count, chunk.skipped))
        if noted:
            columns = [list(column) for column in zip(*noted, strict=True)]
            await connection.execute(self._sql["note_rejects"], *columns)

    async def _note_repeats(
        self, connection: asyncpg.Connection, landed: Sequence[Arrival], repeats: Sequence[int]
    ) -> None:
        noted = [
            (chunk.stream_id, chunk.first_row, count)
            for chunk, count in zip([each.chunk for each in landed], repeats, strict=True)
            if chunk and count
        ]
        if noted:
            columns = [list(column) for column in zip(*noted, strict=True)]
            await connection.execute(self._sql["note_repeats"], *columns)

    async def _write(
        self, connection: asyncpg.Connection, prepared: _Prepared, known: Known
    ) -> None:
        if not len(prepared.blocks.starts) and not len(prepared.ends):
            return
        await copy_in(connection, "sample_block", COLUMNS, prepared.payload)
        await copy_in(connection, "sample_frame", FRAME_COLUMNS, prepared.frames)
        marked = await connection.fetchrow(self._sql["mark_rollups"], prepared.hours)
        if marked["removals"] != known.removals:
            raise _SeriesRemoved
        recent = marked["recent_from"]
        if wanted := Wanted(marked["followed"], recent and micros(recent)):
            await add_landing(connection, prepared.blocks, prepared.ends, wanted)
        if len(prepared.ends):
            times = [moment(us) for us in prepared.ends.ts.tolist()]
            await connection.execute(
                self._sql["note_ends"], times, prepared.ends.series_id.tolist()
            )
        if prepared.sightings:
            # This is last because it locks rows that other commits need as well.
            await connection.execute(self._sql["note_gpus"], *prepared.sightings.columns())


def _prepare(
    batches: Sequence[Fingerprinted],
    streams: Sequence[int],
    stored: Samples,
    *,
    known: Known,
    lists: Mapping[bytes, int] | None,
    window: Window,
) -> _Prepared:
    """``lists`` has the ids of the lists of series; None if the store keeps no frames."""
    group_ids = [known.ids(batch) for batch in batches]
    pieces, ends, rejects = [], [], []
    for batch, ids in zip(batches, group_ids, strict=True):
        samples, ended, rejected = _admitted(batch, ids, window)
        pieces.append(samples)
        ends.append(ended)
        rejects.append(rejected)
    rows, ended = concatenate(pieces), concatenate(ends)
    blocks = make_blocks(rows.series_id, rows.ts, rows.value)
    repeats = [0] * len(batches)
    arrival = np.repeat(np.arange(len(batches)), list(map(len, pieces)))
    if len(stored) or has_repeats(blocks):
        rows, arrival, counts = without_repeats(rows, arrival, stored)
        blocks = make_blocks(rows.series_id, rows.ts, rows.value)
        repeats[: len(counts)] = counts.tolist()
    seen = sightings(blocks, [batch.groups for batch in batches], group_ids)
    listed = lists or {}
    may_be_framed = lists is not None and not any(streams)
    found = frame_candidates(blocks, seen.gpu_of_block) if seen and may_be_framed else []
    frames = frames_of(found, listed)
    if len(set(streams)) > 1:
        _, payload = payload_by_stream(rows, np.array(streams, np.int64)[arrival])
    else:
        in_no_frame = np.ones(len(blocks.starts), np.bool_)
        in_no_frame[frames.blocks] = False
        payload = copy_payload(blocks.take(in_no_frame), *set(streams))
    return _Prepared(
        blocks,
        payload,
        frame_payload(blocks, frames),
        [each for each in found if each.digest not in listed],
        seen,
        _hours(blocks),
        ended,
        rejects,
        repeats,
    )


def _admitted(
    batch: Fingerprinted, series_id: Int64, window: Window
) -> tuple[Samples, Samples, Rejected]:
    """The samples of a batch that may land, the marks of ends of series, and what is rejected."""
    admitted, rejected = window.admit(batch.groups.batch)
    rows = Samples(
        series_id[batch.groups.row_group],
        _column(batch, TIMESTAMP).view(np.int64),
        _column(batch, VALUE),
    )
    if admitted is not None:
        rows = rows.take(admitted)
    stale = rows.value.view(np.int64) == STALE_BITS
    if not stale.any():
        return rows, EMPTY, rejected
    return rows.take(~stale), rows.take(stale), rejected


def _day(number: int) -> date:
    return (EPOCH + timedelta(days=number)).date()


def _lacks_partition(error: BaseException | None) -> bool:
    """Whether a day has no partition. A failed CHECK of the table would have a name."""
    return isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name


def _fingerprint_all(arrivals: Sequence[Arrival]) -> list[Fingerprinted]:
    return [fingerprint(arrival.batch) for arrival in arrivals]


def _column(batch: Fingerprinted, name: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = batch.groups.batch.column(name).to_numpy(zero_copy_only=False)
    return column


def _hours(blocks: Blocks) -> list[datetime]:
    hours = blocks.ts // _HOUR_US
    few = np.concatenate((hours[:1], hours[1:][np.diff(hours) != 0]))
    return [EPOCH + hour * _HOUR for hour in np.unique(few).tolist()]
