"""Deletes samples, a batch of series of one day in one transaction.

No commit of a collector is under way in such a transaction, and no other maintenance: it leaves
blocks, rollups, GPUs and series as if the samples had never landed. So a deletion can be broken off
at any moment, and run again. What lands between two batches is deleted only if its day and series
come later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import product

import asyncpg
import numpy as np

from gputel.backoff import Backoff
from gputel.errors import StoreError, UsageError
from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.copy_format import COLUMNS, payload_by_stream
from gputel.store.blocks.copy_in import copy_in
from gputel.store.blocks.samples import Samples, decode_rows, micros, streams_of
from gputel.store.days import day_span
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.series_reader import moment
from gputel.store.rollup.buckets import HOUR_US, MINUTE_US, Buckets
from gputel.store.rollup.build import minutes_of, payloads
from gputel.store.rollup.rows import ROW_COLUMNS, decode_rollups
from gputel.store.upkeep.batches import BY_INDEX, batches
from gputel.store.upkeep.conditions import SQL, Deletion, series_pieces, stream_numbers
from gputel.store.upkeep.foresight import Bounds, Foresight, foresee
from gputel.store.upkeep.merge import merge_frames

_BATCH_SERIES = 1000
_EMPTY_SERIES = load("empty_series")
_TAKE_HOURS = load("rollup")["take_hours"]


@dataclass(frozen=True)
class Deleted:
    """What has been deleted so far."""

    samples: int = 0
    rollup_minutes: int = 0
    series: int = 0
    """Series that have nothing left, and have gone."""

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(
            self.samples + other.samples,
            self.rollup_minutes + other.rollup_minutes,
            self.series + other.series,
        )


async def delete(
    connection: asyncpg.Connection, deletion: Deletion, progress: Callable[[Deleted], None]
) -> Deleted:
    """Delete what meets the conditions; ``progress`` is called after each commit.

    The connection is that of ``maintenance.sole``. Streams go too if nothing else is named. Raises
    UsageError as ``stream_numbers`` does, StoreUnavailable or StoreError; what was deleted before
    stays deleted, and the same call goes on.
    """
    streams = await stream_numbers(connection, deletion)
    read_to = await _stop_streams(connection, deletion, streams)
    total = Deleted()
    async with store_errors():
        days = await connection.fetch(SQL["days"], *deletion.span)
        pieces = await series_pieces(connection, deletion)
    for (day, part), some in product(days, pieces):
        if part is None and streams is not None:
            continue
        before = total
        if part and streams is None:  # streams of files have no frames
            await merge_frames(connection, day, 1, some)
        async for ids in batches(
            connection,
            SQL["series" if part else "series_of_rollups"],
            *(*day_span(day), *deletion.span, streams, some),
            most_ids=_BATCH_SERIES,
            by_index=some is not None,
        ):
            batch = _Batch(connection, deletion, day, streams, ids)
            foresight = await foresee(connection, batch.bounds)
            work = batch.delete_samples if part else batch.delete_minutes
            total += await _committed(connection, partial(work, foresight))
            progress(total)
        if total.samples > before.samples:
            async with store_errors():
                await connection.execute(f"VACUUM (ANALYZE) {part}")
    await _committed(connection, partial(_finish, connection, streams, read_to))
    return total


async def _stop_streams(
    connection: asyncpg.Connection, deletion: Deletion, streams: tuple[int, ...] | None
) -> dict[str, int] | None:
    """How far whole streams have been read, once nothing of that can land any more."""
    if not deletion.of_whole_streams:
        return None
    async with store_errors(), connection.transaction(isolation="read_committed"):
        read_to = dict(await connection.fetch(SQL["hold_streams"], streams))
        await stream_numbers(connection, deletion)
        await connection.execute(SQL["drop_leases"], streams)
    return read_to


async def _committed(
    connection: asyncpg.Connection, work: Callable[[], Awaitable[Deleted]]
) -> Deleted:
    """Do this in a transaction, once no collector is about to commit; others wait meanwhile."""
    backoff = Backoff()
    while True:
        try:
            async with store_errors(), connection.transaction(isolation="read_committed"):
                await connection.execute("SET LOCAL lock_timeout = '1s'")
                await connection.execute(_EMPTY_SERIES["keep_writers_out"])
                await connection.execute(BY_INDEX)
                return await work()
        except StoreError as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            await asyncio.sleep(backoff.next_s())


@dataclass(frozen=True)
class _Batch:
    """Series of a day, whose samples together fit into memory."""

    connection: asyncpg.Connection
    deletion: Deletion
    day: date
    streams: tuple[int, ...] | None
    series_ids: list[int]

    @property
    def bounds(self) -> Bounds:
        """Which blocks it takes."""
        return *day_span(self.day), *self.deletion.span, self.streams, self.series_ids

    async def delete_samples(self, foresight: Foresight) -> Deleted:
        """Cut the samples out of their blocks, and make what follows from them anew."""
        rows = await self.connection.fetch(SQL["take"], *self.bounds)
        cut = await asyncio.to_thread(_cut, rows, self.deletion)
        await copy_in(self.connection, "sample_block", COLUMNS, cut.payload)
        gone = cut.gone
        if not len(gone):
            return Deleted()
        await self.connection.execute(SQL["note_deleted"], *cut.gone_by_stream)
        await self.connection.execute(SQL["tell_deleted"])
        if await self.connection.fetchval(SQL["has_rollups"], self.day):
            hours = np.unique(gone.ts // HOUR_US * HOUR_US)
            minutes = await self._minutes_left(hours)
            await self._take_minutes(hours)
            await self._write_rollups(minutes, hours)
        await foresight.refresh_gpus(self.connection, cut.kept)
        return Deleted(samples=len(gone), series=await self._remove_empty(foresight))

    async def delete_minutes(self, foresight: Foresight) -> Deleted:
        """Delete rollups of which no samples are left; an hour is made anew of its minutes."""
        first, end = map(micros, day_span(self.day))
        hours = np.arange(first, end, HOUR_US)
        hours = hours[self.deletion.touches(hours, HOUR_US)]
        old = await self._take_minutes(hours)
        buckets = decode_rollups(old)
        gone = self.deletion.includes(buckets.start_us, MINUTE_US)
        await self._write_rollups(buckets.take(~gone), hours)
        return Deleted(rollup_minutes=int(gone.sum()), series=await self._remove_empty(foresight))

    async def _minutes_left(self, hours: Int64) -> Buckets:
        first, end = moment(int(hours[0])), moment(int(hours[-1]) + HOUR_US)
        rows = await self.connection.fetch(
            SQL["left_blocks"], first, day_span(self.day)[1], end, self.series_ids
        )
        return await asyncio.to_thread(minutes_of, rows, hours)

    async def _take_minutes(self, hours: Int64) -> Sequence[asyncpg.Record]:
        starts = [moment(int(hour)) for hour in hours]
        rows: Sequence[asyncpg.Record] = await self.connection.fetch(
            SQL["take_minutes"], self.series_ids, starts, *day_span(self.day)
        )
        return rows

    async def _write_rollups(self, minutes: Buckets, hours: Int64) -> None:
        """Write these minutes, those of these hours, and the hours of the day."""
        old = await self.connection.fetch(_TAKE_HOURS, self.series_ids, day_span(self.day)[0])
        for payload in await asyncio.to_thread(payloads, minutes, old, hours):
            await copy_in(self.connection, "rollup", ROW_COLUMNS, payload)

    async def _remove_empty(self, foresight: Foresight) -> int:
        empty = await foresight.empty_series(self.connection)
        if not empty:
            return 0
        removed: int = await self.connection.fetchval(_EMPTY_SERIES["remove"], [*empty])
        await self.connection.execute(SQL["forget_labels"], [*{*empty.values()}])
        return removed


@dataclass(frozen=True)
class _Cut:
    """The samples of some blocks that go, and those that stay, also as blocks for ``copy_in``."""

    gone: Samples
    gone_by_stream: tuple[list[int], list[int]]  # numbers of streams, and how many samples of each
    kept: Samples
    payload: list[memoryview]


def _cut(rows: Sequence[asyncpg.Record], deletion: Deletion) -> _Cut:
    samples, stream = decode_rows(rows), streams_of(rows)
    gone = deletion.includes(samples.ts)
    kept = samples.take(~gone)
    numbers, counts = np.unique(stream[gone], return_counts=True)
    _, payload = payload_by_stream(kept, stream[~gone])
    return _Cut(samples.take(gone), (numbers.tolist(), counts.tolist()), kept, payload)


async def _finish(
    connection: asyncpg.Connection,
    streams: tuple[int, ...] | None,
    read_to: dict[str, int] | None,
) -> Deleted:
    await connection.execute(SQL["forget_ends"])
    await connection.execute(SQL["forget_landings"])
    if read_to is not None:
        for name, next_row in await connection.fetch(SQL["hold_streams"], streams):
            if next_row != read_to.get(name):
                raise UsageError(
                    f"--stream: a streamer has begun to read {name!r} meanwhile: stop it, and run "
                    "the same command again"
                )
        await connection.execute(SQL["forget_streams"], streams)
    return Deleted()
