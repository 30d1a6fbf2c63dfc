"""Telemetry in order of time, newest or oldest first.

It is read a UTC day at a time: a block never spans midnight, so the days need no merging, the
partitions of other days are not touched, and the first records come at once however long the range
is. Within a day blocks stream through a server-side cursor into a ``TimeMerge``, and all of it sees
one snapshot. A short range of few series, such as the last hour of a GPU, is fetched in one go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import asyncpg

from gputel.store import queries
from gputel.store.blocks.samples import Samples, concatenate, decode_rows, micros
from gputel.store.limits import ANY, Limits
from gputel.store.read.reader import EARLIEST, LATEST, Connection, Reader
from gputel.store.read.records import Records, SeriesLabels
from gputel.store.read.selection import EVERY, Selection
from gputel.store.read.series_reader import samples_of
from gputel.store.read.time_order import Order, Position, Resume, TimeMerge, sort
from gputel.threads import READING

RECORDS_PER_PIECE = 8192
"""Most records that ``telemetry`` yields at once."""

_SQL = queries.load("telemetry")
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_FIRST_FETCH_BLOCKS = 32
_MOST_FETCH_BLOCKS = 4096
_FETCH_SAMPLES = 32_768
_SAMPLES_HELD = 2_000_000
_LEAST_SLICE = 50_000  # samples, of a part of a day of which only the first are wanted
_SHORT, _SHORT_SERIES, _SHORT_BLOCKS = timedelta(hours=25), 100, 6000


@dataclass(frozen=True)
class Asked:
    """Which records, from ``start`` to ``end`` inclusive, and in which order.

    ``after`` leaves out what comes up to a position in that order; ``limit`` bounds how many come.
    """

    selection: Selection = EVERY
    start: datetime = EARLIEST
    end: datetime = LATEST
    order: Order = Order.NEWEST_FIRST
    after: Position | None = None
    limit: int | None = None

    def bounded(self) -> Asked:
        """The same within what Postgres and Python can say, and from its position on."""
        start, end = max(self.start, EARLIEST), min(self.end, LATEST)
        if self.after is not None:
            place = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.after.ts_us)
            if self.order is Order.NEWEST_FIRST:
                end = min(end, place)
            else:
                start = max(start, place)
        return replace(self, start=start, end=end)


async def telemetry(
    reader: Reader, asked: Asked, limits: Limits = ANY
) -> AsyncGenerator[Records, None]:
    """The records asked for.

    Yields 1 to RECORDS_PER_PIECE records at a time, all of them unless the limit stops it sooner,
    in memory that does not grow with their number. Series that are unknown yield nothing. Holds a
    session of the pool until it is exhausted or closed: wrap it in ``contextlib.aclosing``. Raises
    StoreUnavailable when too many others read at the same time, and QueryTooLarge where more series
    are selected than the limits allow.
    """
    asked = asked.bounded()
    resume, left = Resume(asked.after), asked.limit
    async with aclosing(_read(reader, asked, limits)) as found:
        async for samples, series in found:
            for records in in_pieces(resume.rest(samples), series, left):
                yield records
                if left is not None:
                    left -= len(records)
                    if left <= 0:
                        return


async def _read(
    reader: Reader, asked: Asked, limits: Limits
) -> AsyncGenerator[tuple[Samples, Mapping[int, SeriesLabels]], None]:
    """Samples in final order, and their series."""
    if asked.end - asked.start <= _SHORT or (
        asked.start > EARLIEST and datetime.now(UTC) - asked.start <= _SHORT
    ):
        async with reader.session() as connection:
            series = await reader.series(
                connection, asked.selection, asked.start, asked.end, limits
            )
            if not series:
                return
            short = await _short(connection, asked, list(series))
        if short is not None:
            yield short, series
            return
    async with reader.snapshot() as connection:
        series = await reader.series(connection, asked.selection, asked.start, asked.end, limits)
        if series:
            async with aclosing(_days(connection, asked, list(series))) as pieces:
                async for samples in pieces:
                    yield samples, series


async def _short(connection: Connection, asked: Asked, series_ids: list[int]) -> Samples | None:
    """All samples in one fetch, sorted; None when they are too many for that."""
    if len(series_ids) > _SHORT_SERIES:
        return None
    rows = await connection.fetch(
        _SQL["few_blocks"], series_ids, asked.start, asked.end, asked.end + _DAY, _SHORT_BLOCKS + 1
    )
    if len(rows) > _SHORT_BLOCKS:
        return None
    return await READING.run(_within, rows, asked)


def _within(rows: Sequence[asyncpg.Record], asked: Asked) -> Samples:
    samples = decode_rows(rows)
    inside = (samples.ts >= micros(asked.start)) & (samples.ts <= micros(asked.end))
    return sort(samples.take(inside), asked.order)


async def _days(
    connection: Connection, asked: Asked, series_ids: list[int]
) -> AsyncGenerator[Samples, None]:
    """Samples day by day; a day without blocks is passed over, but for the last of the range."""
    newest_first = asked.order is Order.NEWEST_FIRST
    seen = await connection.fetchrow(_SQL["seen"], series_ids)
    asked = replace(
        asked, start=max(asked.start, seen["first_ts"]), end=min(asked.end, seen["last_ts"])
    )
    day, last = _midnight(asked.start), _midnight(asked.end)
    if newest_first:
        day, last = last, day
    while day >= last if newest_first else day <= last:
        if day != last:
            found = await _next_day(connection, asked, series_ids, day)
            if found is None:
                return
            day = found
        for span in await _slices(connection, asked, series_ids, day):
            if asked.limit is not None and len(series_ids) > _SHORT_SERIES:
                if few := await _cut_out(connection, span, series_ids):
                    yield few
                continue
            async with aclosing(_slice(connection, span, series_ids, day)) as pieces:
                async for samples in pieces:
                    yield samples
        day = day - _DAY if newest_first else day + _DAY


async def _next_day(
    connection: Connection, asked: Asked, series_ids: list[int], first: datetime
) -> datetime | None:
    """The first day with blocks from ``first`` on, in the order asked for.

    It is looked for in one day, then two, four and so on: Postgres plans for each day of a range.
    """
    start, before, name = asked.start, first + _DAY, "newest_block"
    if asked.order is Order.OLDEST_FIRST:
        start, before, name = max(start, first), _midnight(asked.end) + _DAY, "oldest_block"
    length = _DAY
    while start < before:
        within = min(length, before - start)
        if asked.order is Order.OLDEST_FIRST:
            part, start = (start, start + within), start + within
        else:
            part, before = (before - within, before), before - within
        found = await connection.fetchval(_SQL[name], series_ids, *part)
        if found is not None:
            return _midnight(found)
        length *= 2
    return None


async def _slices(
    connection: Connection, asked: Asked, series_ids: list[int], day: datetime
) -> list[Asked]:
    """The part of a day that is asked for, cut where all its samples are too many to hold.

    Blocks that were merged reach over the whole day, so that none of it is final before the last
    of them has come. Each slice decodes anew the blocks that it cuts.
    """
    start, end = max(day, asked.start), min(day + _DAY - _MICROSECOND, asked.end)
    pieces = 1
    if len(series_ids) > _SHORT_SERIES:
        samples = await connection.fetchval(_SQL["samples"], series_ids, start, day + _DAY, end)
        held = _SAMPLES_HELD
        if asked.limit is not None:
            held = min(held, max(_LEAST_SLICE, 4 * asked.limit))
        pieces = max(1, -(-samples // held))
    length = (end - start) // pieces + _MICROSECOND
    spans = []
    while start <= end:
        until = min(start + length - _MICROSECOND, end)
        spans.append(replace(asked, start=start, end=until))
        start += length
    return spans if asked.order is Order.OLDEST_FIRST else spans[::-1]


async def _cut_out(connection: Connection, span: Asked, series_ids: list[int]) -> Samples:
    """The samples of a short part of a day, of which Postgres cuts them out of large blocks."""
    first, last = micros(span.start), micros(span.end)
    samples = await samples_of(connection, series_ids, first, last, lambda _count: None)
    return await READING.run(sort, samples, span.order)


async def _slice(
    connection: Connection, asked: Asked, series_ids: list[int], day: datetime
) -> AsyncGenerator[Samples, None]:
    """The samples of a part of a day."""
    newest_first = asked.order is Order.NEWEST_FIRST
    cursor = await connection.cursor(
        _SQL["blocks"].format(order="last_ts DESC" if newest_first else "first_ts"),
        *(series_ids, asked.start, day + _DAY, asked.end),
    )
    merge = TimeMerge(asked.order, micros(asked.start), micros(asked.end))
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
    if rest := await READING.run(merge.rest):
        yield rest


def _merge(
    merge: TimeMerge, rows: Sequence[asyncpg.Record], edge: str, more: bool
) -> tuple[int, Samples]:
    """Push fetched blocks; return how many samples they had and what has become final.

    Without ``more`` to come that is all there is.
    """
    samples = decode_rows(rows)
    final = merge.push(samples, micros(rows[-1][edge]))
    return len(samples), final if more else concatenate([final, merge.rest()])


def in_pieces(
    samples: Samples, series: Mapping[int, SeriesLabels], limit: int | None
) -> Iterator[Records]:
    """Records of the samples, or of the first ``limit``, a piece at a time."""
    count = len(samples) if limit is None else min(limit, len(samples))
    for first in range(0, count, RECORDS_PER_PIECE):
        piece = samples.take(slice(first, min(first + RECORDS_PER_PIECE, count)))
        yield Records(piece, series)


def _midnight(moment: datetime) -> datetime:
    """The start of its UTC day."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
