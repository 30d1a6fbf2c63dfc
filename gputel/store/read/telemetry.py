"""Telemetry in order of time, newest or oldest first.

It is read a UTC day at a time: a block never spans midnight, so the days need no merging, the
partitions of other days are not touched, and the first records come at once however long the range
is. Within a day blocks stream through a server-side cursor into a ``TimeMerge``, and all of it sees
one snapshot. A short range of few series, such as the last hour of a GPU, is fetched in one go.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg

from gputel.store import queries
from gputel.store.blocks.samples import Samples, concatenate, decode_rows, micros, once
from gputel.store.limits import ANY, Limits
from gputel.store.read.reader import EARLIEST, LATEST, Connection, Reader
from gputel.store.read.records import Records, SeriesLabels
from gputel.store.read.selection import EVERY, Selection
from gputel.store.read.series_reader import samples_of
from gputel.store.read.time_order import Order, Position, Resume, TimeMerge, sort
from gputel.store.read.view import Views
from gputel.threads import READING

RECORDS_PER_PIECE = 8192
"""Most records that ``telemetry`` yields at once."""

_SQL = queries.load("telemetry")
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_FIRST_FETCH_BLOCKS = 32
_MOST_FETCH_BLOCKS = 4096
_FETCH_SAMPLES = 32_768
_SAMPLES_HELD = 2_000_000
_LEAST_SLICE = 50_000  # samples in a part of a day, if the query has a limit
_IN_THREAD_SAMPLES = 10_000  # sorting fewer takes less time than starting a thread
_Batch: TypeAlias = tuple[Samples, Mapping[int, SeriesLabels]]
_SHORT, _SHORT_SERIES, _SHORT_BLOCKS = timedelta(hours=25), 100, 6000


@dataclass(frozen=True)
class TelemetryQuery:
    """Which records, from ``start`` to ``end`` inclusive, and in which order.

    The records begin behind the position ``after``, if there is one. ``limit`` is the most records.
    """

    selection: Selection = EVERY
    start: datetime = EARLIEST
    end: datetime = LATEST
    order: Order = Order.NEWEST_FIRST
    after: Position | None = None
    limit: int | None = None

    def bounded(self) -> TelemetryQuery:
        """The query from its position on, within the times that Postgres and Python can store."""
        start, end = max(self.start, EARLIEST), min(self.end, LATEST)
        if self.after is not None:
            position_time = datetime.fromtimestamp(0, UTC) + timedelta(
                microseconds=self.after.ts_us
            )
            if self.order is Order.NEWEST_FIRST:
                end = min(end, position_time)
            else:
                start = max(start, position_time)
        return replace(self, start=start, end=end)


async def telemetry(
    reader: Reader, query: TelemetryQuery, limits: Limits = ANY, views: Views | None = None
) -> AsyncGenerator[Records, None]:
    """The records of a query, 1 to RECORDS_PER_PIECE at a time.

    Postgres is not asked for records that ``views`` hold. The memory does not grow with the number
    of records. The generator holds a session of the pool until it is exhausted or closed: wrap it
    in ``contextlib.aclosing``. Raises StoreUnavailable when too many others read at the same time,
    and QueryTooLarge if the query selects more series than the limits allow.
    """
    query = query.bounded()
    # The value of the last sample may have changed: a larger one of the same instant has landed.
    after = query.after and replace(query.after, value=math.nan, nth=1)
    resume, left = Resume(after), query.limit
    held = await held_records(views, query, limits, _SAMPLES_HELD)
    read = _read(reader, query, limits) if held is None else _sorted(held, query.order)
    async with aclosing(read) as batches:
        async for samples, series in batches:
            for records in in_pieces(resume.rest(samples), series, left):
                yield records
                if left is not None:
                    left -= len(records)
                    if left <= 0:
                        return


async def held_records(
    views: Views | None, query: TelemetryQuery, limits: Limits, most: int
) -> Records | None:
    """All records from start to end of the query, in order of series and time.

    None if they are not in memory, or may be more than ``most``.
    """
    first, last = micros(query.start), micros(query.end)
    if views is None or not views.holds(first):
        return None
    async with views.view(first, last) as view:
        return await view.few_records(query.selection, first, last, limits, most)


async def _sorted(records: Records, order: Order) -> AsyncGenerator[_Batch, None]:
    many = len(records) > _IN_THREAD_SAMPLES
    yield await READING.run_if(many, sort, records.samples, order), records.series


async def _read(
    reader: Reader, query: TelemetryQuery, limits: Limits
) -> AsyncGenerator[_Batch, None]:
    """Samples in their final order, with the labels of their series."""
    if query.end - query.start <= _SHORT or (
        query.start > EARLIEST and datetime.now(UTC) - query.start <= _SHORT
    ):
        async with reader.session() as connection:
            series = await reader.series(
                connection, query.selection, query.start, query.end, limits
            )
            if not series:
                return
            short = await _short(connection, query, list(series))
        if short is not None:
            yield short, series
            return
    async with reader.snapshot() as connection:
        series = await reader.series(connection, query.selection, query.start, query.end, limits)
        if series:
            async with aclosing(_days(connection, query, list(series))) as pieces:
                async for samples in pieces:
                    yield samples, series


async def _short(
    connection: Connection, query: TelemetryQuery, series_ids: list[int]
) -> Samples | None:
    """All samples by one fetch, sorted; None if there are too many for that."""
    if len(series_ids) > _SHORT_SERIES:
        return None
    rows = await connection.fetch(
        _SQL["few_blocks"], series_ids, query.start, query.end, query.end + _DAY, _SHORT_BLOCKS + 1
    )
    if len(rows) > _SHORT_BLOCKS:
        return None
    return await READING.run(_within, rows, query)


def _within(rows: Sequence[asyncpg.Record], query: TelemetryQuery) -> Samples:
    samples = decode_rows(rows)
    inside = (samples.ts >= micros(query.start)) & (samples.ts <= micros(query.end))
    return once(sort(samples.take(inside), query.order))


async def _days(
    connection: Connection, query: TelemetryQuery, series_ids: list[int]
) -> AsyncGenerator[Samples, None]:
    """Samples day by day. Days without blocks are skipped, except the last day of the range."""
    newest_first = query.order is Order.NEWEST_FIRST
    seen = await connection.fetchrow(_SQL["seen"], series_ids)
    query = replace(
        query, start=max(query.start, seen["first_ts"]), end=min(query.end, seen["last_ts"])
    )
    day, last = _midnight(query.start), _midnight(query.end)
    if newest_first:
        day, last = last, day
    while day >= last if newest_first else day <= last:
        if day != last:
            next_day = await _next_day(connection, query, series_ids, day)
            if next_day is None:
                return
            day = next_day
        for span in await _slices(connection, query, series_ids, day):
            if query.limit is not None and len(series_ids) > _SHORT_SERIES:
                if few := await _cut_out(connection, span, series_ids):
                    yield few
                continue
            async with aclosing(_slice(connection, span, series_ids, day)) as pieces:
                async for samples in pieces:
                    yield samples
        day = day - _DAY if newest_first else day + _DAY


async def _next_day(
    connection: Connection, query: TelemetryQuery, series_ids: list[int], first: datetime
) -> datetime | None:
    """The first day with blocks from ``first`` on, in the order of the query.

    Searches one day, then two, four and so on: Postgres plans for each day of a range.
    """
    start, before, name = query.start, first + _DAY, "newest_block"
    if query.order is Order.OLDEST_FIRST:
        start, before, name = max(start, first), _midnight(query.end) + _DAY, "oldest_block"
    length = _DAY
    while start < before:
        within = min(length, before - start)
        if query.order is Order.OLDEST_FIRST:
            part, start = (start, start + within), start + within
        else:
            part, before = (before - within, before), before - within
        block_ts = await connection.fetchval(_SQL[name], series_ids, *part)
        if block_ts is not None:
            return _midnight(block_ts)
        length *= 2
    return None


async def _slices(
    connection: Connection, query: TelemetryQuery, series_ids: list[int], day: datetime
) -> list[TelemetryQuery]:
    """The part of a day within the query, in slices whose samples fit into memory.

    Merged blocks span the whole day, so no sample of the day is final before the last block has
    been read. A block that lies in several slices is decoded once for each.
    """
    start, end = max(day, query.start), min(day + _DAY - _MICROSECOND, query.end)
    pieces = 1
    if len(series_ids) > _SHORT_SERIES:
        samples = await connection.fetchval(_SQL["samples"], series_ids, start, day + _DAY, end)
        slice_samples = _SAMPLES_HELD
        if query.limit is not None:
            slice_samples = min(slice_samples, max(_LEAST_SLICE, 4 * query.limit))
        pieces = max(1, -(-samples // slice_samples))
    length = (end - start) // pieces + _MICROSECOND
    spans = []
    while start <= end:
        until = min(start + length - _MICROSECOND, end)
        spans.append(replace(query, start=start, end=until))
        start += length
    return spans if query.order is Order.OLDEST_FIRST else spans[::-1]


async def _cut_out(connection: Connection, span: TelemetryQuery, series_ids: list[int]) -> Samples:
    """The samples of a short part of a day; Postgres cuts them out of large blocks."""
    first, last = micros(span.start), micros(span.end)
    samples = await samples_of(connection, series_ids, first, last, lambda _count: None)
    return await READING.run(sort, samples, span.order)


async def _slice(
    connection: Connection, query: TelemetryQuery, series_ids: list[int], day: datetime
) -> AsyncGenerator[Samples, None]:
    """The samples of a part of a day."""
    newest_first = query.order is Order.NEWEST_FIRST
    cursor = await connection.cursor(
        _SQL["blocks"].format(order="last_ts DESC" if newest_first else "first_ts"),
        *(series_ids, query.start, day + _DAY, query.end),
    )
    merge = TimeMerge(query.order, micros(query.start), micros(query.end))
    edge = "last_ts" if newest_first else "first_ts"
    fetch_blocks = _FIRST_FETCH_BLOCKS
    while rows := await cursor.fetch(fetch_blocks):
        more = len(rows) == fetch_blocks
        samples, ready = await READING.run(_merge, merge, rows, edge, more)
        if ready:
            yield ready
        if not more:
            return
        per_block = max(1, samples // len(rows))
        most = max(4, _FETCH_SAMPLES // per_block)
        fetch_blocks = min(4 * fetch_blocks, _MOST_FETCH_BLOCKS, most)
    if rest := await READING.run(_rest, merge):
        yield rest


def _merge(
    merge: TimeMerge, rows: Sequence[asyncpg.Record], edge: str, more: bool
) -> tuple[int, Samples]:
    """Push fetched blocks; return the number of their samples, and the samples that are final.

    All samples are final if there are no ``more`` blocks to come.
    """
    samples = decode_rows(rows)
    final = merge.push(samples, micros(rows[-1][edge]))
    return len(samples), once(final if more else concatenate([final, merge.rest()]))


def _rest(merge: TimeMerge) -> Samples:
    return once(merge.rest())


def in_pieces(
    samples: Samples, series: Mapping[int, SeriesLabels], limit: int | None
) -> Iterator[Records]:
    """The samples as records, at most ``limit`` of them, one piece at a time."""
    count = len(samples) if limit is None else min(limit, len(samples))
    for first in range(0, count, RECORDS_PER_PIECE):
        piece = samples.take(slice(first, min(first + RECORDS_PER_PIECE, count)))
        yield Records(piece, series)


def _midnight(moment: datetime) -> datetime:
    """The start of the UTC day of a time."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
