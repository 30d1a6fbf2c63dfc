"""Telemetry by step: aggregates of buckets, from rollups where they are right, else from samples.

The range is read a window of whole steps at a time, in the order asked for. All of it sees one
snapshot, rollups and marks of stale hours as well, so the answer is that of the samples.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import asyncpg
import numpy as np

from gputel.store import queries
from gputel.store.blocks import DAY_US
from gputel.store.reader import EARLIEST, Reader
from gputel.store.records import Records
from gputel.store.rollup import (
    HOUR_US,
    MINUTE_US,
    Aggregate,
    Buckets,
    fold,
    from_samples,
    join,
    units,
)
from gputel.store.rollup_plan import Source, Span, plan
from gputel.store.rollup_rows import decode_rollups
from gputel.store.samples import EPOCH, Samples, decode_rows, micros
from gputel.store.telemetry import Asked, in_pieces
from gputel.store.time_order import Order, Resume, sort

_SQL = queries.load("rollup")
_WINDOW_US = {HOUR_US: 64 * DAY_US, MINUTE_US: 8 * DAY_US}
_SOURCES_ROW_US = {Source.HOURS: DAY_US, Source.MINUTES: HOUR_US}


@dataclass(frozen=True)
class Steps:
    """What is asked: one bucket a step, which begin at multiples of it since 1970-01-01 UTC."""

    step_us: int
    aggregate: Aggregate = Aggregate.AVG
    use_rollups: bool = True


@dataclass(frozen=True)
class _Asked:
    steps: Steps
    series_ids: list[int]
    start_us: int
    end_us: int  # exclusive

    def within(self, order: Order, ts_us: int) -> _Asked:
        """What is left from the bucket of an instant on."""
        start_us = ts_us // self.steps.step_us * self.steps.step_us
        if order is Order.NEWEST_FIRST:
            return replace(self, end_us=min(self.end_us, start_us + self.steps.step_us))
        return replace(self, start_us=max(self.start_us, start_us))

    def behind(self, order: Order, start_us: int, end_us: int) -> _Asked:
        """What is left behind a window."""
        if order is Order.NEWEST_FIRST:
            return replace(self, end_us=start_us)
        return replace(self, start_us=end_us)


async def telemetry_by_step(
    reader: Reader, asked: Asked, steps: Steps
) -> AsyncGenerator[Records, None]:
    """What ``telemetry`` gives, but one record for each bucket and series that has samples.

    Its timestamp is the beginning of the bucket, its value the aggregate of the samples from
    ``start`` to ``end`` inclusive in it. ``limit`` is of buckets; ``after`` is the
    position of one.
    """
    position = asked.after
    asked = replace(asked, after=None).bounded()
    resume = Resume(None if position is None else replace(position, value=math.nan, nth=1))
    async with reader.snapshot() as connection:
        series = await reader.series(connection, asked.selection, asked.start, asked.end)
        span = _Asked(steps, list(series), micros(asked.start), micros(asked.end) + 1)
        if position is not None:
            span = span.within(asked.order, position.ts_us)
        left = asked.limit
        while series and (window := await _window(connection, span, asked.order)):
            buckets = await _read(connection, span, *window)
            found = await asyncio.to_thread(_answer, buckets, steps.aggregate, asked.order)
            found = resume.rest(found)
            for records in in_pieces(found, series, left):
                yield records
            if left is not None:
                left -= len(found)
                if left <= 0:
                    return
            span = span.behind(asked.order, *window)


async def _window(
    connection: asyncpg.pool.PoolConnectionProxy, asked: _Asked, order: Order
) -> tuple[int, int] | None:
    """A window of whole steps, but for the ends of the range, with the first samples in it."""
    if asked.start_us >= asked.end_us:
        return None
    newest_first = order is Order.NEWEST_FIRST
    first = await connection.fetchval(
        _SQL["newest" if newest_first else "oldest"],
        asked.series_ids,
        _moment(asked.start_us),
        _moment(asked.end_us),
        _moment(_up(asked.end_us, DAY_US)),
        _moment(asked.start_us // DAY_US * DAY_US),
    )
    if first is None:
        return None
    step_us = asked.steps.step_us
    unit = next((unit for unit in _WINDOW_US if step_us % unit == 0), 0)
    length = _up(_WINDOW_US.get(unit, DAY_US), step_us)
    start_us = micros(first) // step_us * step_us
    if newest_first:
        start_us += step_us - length
    return max(start_us, asked.start_us), min(start_us + length, asked.end_us)


async def _read(
    connection: asyncpg.pool.PoolConnectionProxy, asked: _Asked, start_us: int, end_us: int
) -> Buckets:
    """The buckets of a window."""
    step_us, found = asked.steps.step_us, []
    for span in await _plan(connection, asked, start_us, end_us):
        if span.source is Source.SAMPLES:
            fetched = await _blocks(connection, asked, span)
            found.append(await asyncio.to_thread(_from_blocks, fetched, span, units(step_us)[0]))
        else:
            fetched = await _rollups(connection, asked, span)
            found.append(await asyncio.to_thread(_from_rollups, fetched, span))
    return await asyncio.to_thread(_folded, found, step_us)


async def _plan(
    connection: asyncpg.pool.PoolConnectionProxy, asked: _Asked, start_us: int, end_us: int
) -> list[Span]:
    step_us = asked.steps.step_us
    if not asked.steps.use_rollups or step_us % MINUTE_US:
        return plan(start_us, end_us, 1, ())
    first = _moment(start_us // HOUR_US * HOUR_US)
    stale = await connection.fetch(_SQL["stale"], first, _moment(end_us))
    return plan(start_us, end_us, step_us, [micros(row["hour"]) for row in stale])


async def _blocks(
    connection: asyncpg.pool.PoolConnectionProxy, asked: _Asked, span: Span
) -> list[asyncpg.Record]:
    start, end = _moment(span.start_us), _moment(span.end_us)
    midnight = _moment(_up(span.end_us, DAY_US))
    arguments = (start, midnight, end, asked.series_ids)
    return list(await connection.fetch(_SQL["blocks_of"], *arguments))


async def _rollups(
    connection: asyncpg.pool.PoolConnectionProxy, asked: _Asked, span: Span
) -> list[asyncpg.Record]:
    row_us, step_s = _SOURCES_ROW_US[span.source], span.source.value // 1_000_000
    first, end = _moment(span.start_us // row_us * row_us), _moment(span.end_us)
    return list(await connection.fetch(_SQL["rows"], asked.series_ids, step_s, first, end))


def _from_blocks(rows: Sequence[asyncpg.Record], span: Span, unit_us: int) -> Buckets:
    samples = decode_rows(rows)
    inside = (samples.ts >= span.start_us) & (samples.ts < span.end_us)
    return fold(from_samples(samples.take(inside)), unit_us)


def _from_rollups(rows: Sequence[asyncpg.Record], span: Span) -> Buckets:
    found = decode_rollups(rows)
    return found.take((found.start_us >= span.start_us) & (found.start_us < span.end_us))


def _folded(found: Sequence[Buckets], step_us: int) -> Buckets:
    buckets = join(found)
    for unit_us in units(step_us):
        buckets = fold(buckets, unit_us)
    return buckets


def _answer(buckets: Buckets, aggregate: Aggregate, order: Order) -> Samples:
    start_us = np.maximum(buckets.start_us, micros(EARLIEST))
    return sort(Samples(buckets.series_id, start_us, aggregate.of(buckets)), order)


def _up(us: int, step_us: int) -> int:
    return -(-us // step_us) * step_us


def _moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=max(us, micros(EARLIEST)))
