"""Telemetry by step: one record for each bucket of time and series, or group of series.

The range is read in windows of whole steps, in the order of the query, and each window in batches
of series. So neither a long range nor a large fleet has to fit into memory.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from gputel.store import queries
from gputel.store.blocks.blocks import DAY_US, Int64
from gputel.store.blocks.samples import Samples, concatenate, micros
from gputel.store.limits import ANY, Limits
from gputel.store.read.reader import EARLIEST, Connection, Reader
from gputel.store.read.records import Records, SeriesLabels
from gputel.store.read.series_reader import moment, samples_of
from gputel.store.read.telemetry import TelemetryQuery, held_records, in_pieces
from gputel.store.read.time_order import Order, Position, Resume, sort
from gputel.store.read.view import Views
from gputel.store.rollup.buckets import HOUR_US, MINUTE_US, Aggregate, Buckets, fold
from gputel.store.rollup.plan import Span
from gputel.store.rollup.reader import StepQuery, buckets_from, buckets_of, sources
from gputel.store.steps import lanes
from gputel.store.steps.aggregates import aggregated, sums_over_gpus
from gputel.store.steps.cost import cost_of
from gputel.store.steps.filling import check_filled, filled
from gputel.store.steps.lanes import Lanes
from gputel.threads import READING

_SQL = queries.load("rollup")
_WINDOW_US = {HOUR_US: 64 * DAY_US, MINUTE_US: 8 * DAY_US}
_FEW = 5_000  # samples that take less time than a thread
_HELD = 1_000_000  # samples and buckets that are read at once


async def telemetry_by_step(
    reader: Reader,
    query: TelemetryQuery,
    steps: StepQuery,
    limits: Limits = ANY,
    views: Views | None = None,
) -> AsyncGenerator[Records, None]:
    """As ``telemetry``, but one record for each bucket and lane that has samples.

    The timestamp is the start of the bucket. The value is the aggregate of its samples between
    ``start`` and ``end``, both inclusive. ``limit`` counts buckets, and ``after`` is the position
    of a bucket. Raises QueryTooLarge over the limits; a query without a limit raises it before
    the first record. Postgres is not asked if ``views`` hold the samples.
    """
    within = replace(query, after=None).bounded()
    held = await held_records(views, within, limits, min(_HELD, limits.max_samples))
    if held is not None:
        read = _held(held, query, steps)
    else:
        read = _stored(reader, query, within, steps, limits)
    async with aclosing(read) as pieces:
        async for records in pieces:
            yield records


async def _stored(
    reader: Reader, query: TelemetryQuery, within: TelemetryQuery, steps: StepQuery, limits: Limits
) -> AsyncGenerator[Records, None]:
    """The records of a query from Postgres; ``within`` is the query without its position."""
    async with reader.snapshot() as connection:
        series = await reader.series(
            connection, query.selection, within.start, within.end, limits, rollups=True
        )
        if not series:
            return
        each = _lanes(series, steps)
        left = _Left(steps, each, query.order, micros(within.start), micros(within.end) + 1)
        if steps.fill:
            samples = await _filled(connection, left, limits)
            samples = await READING.run(_behind, samples, query, each)
            for records in in_pieces(samples, each.labels, query.limit):
                yield records
            return
        resume = Resume(None)
        if query.after is not None:
            left = left.from_(query.after.ts_us)
            resume = Resume(_of_bucket(query.after, each))
        if query.limit is None:
            limits.check_samples(await _whole_cost(connection, left, limits.max_samples))
        remaining, cost = query.limit, 0
        steps_to_read = None if remaining is None else remaining // len(series) + 1
        while window := await _window(connection, left, steps_to_read):
            limits.check_samples(cost := cost + window.cost)
            found = resume.rest(await _read(connection, left, window))
            for records in in_pieces(found, each.labels, remaining):
                yield records
            if remaining is not None:
                remaining -= len(found)
                if remaining <= 0:
                    return
            left = left.behind(window)
            steps_to_read = steps_to_read and 4 * steps_to_read


def _lanes(series: Mapping[int, SeriesLabels], steps: StepQuery) -> Lanes:
    return lanes.each(series) if steps.group_by is None else lanes.grouped(series, steps.group_by)


async def _held(
    held: Records, query: TelemetryQuery, steps: StepQuery
) -> AsyncGenerator[Records, None]:
    for records in await READING.run_if(len(held) > _FEW, _of_held, held, query, steps):
        yield records


def _of_held(held: Records, query: TelemetryQuery, steps: StepQuery) -> list[Records]:
    """The same of all records of the query, which are in memory."""
    if not len(held):
        return []
    each = _lanes(held.series, steps)
    if steps.aggregate.is_of_samples:
        found = aggregated(held.samples, each, steps)
    else:
        found = _of_buckets(buckets_from(held.samples, steps.step_us), each, steps)
    if steps.fill:
        found = filled(found, steps.step_us)
    found = _behind(_in_order([found], query.order), query, each)
    return list(in_pieces(found, each.labels, query.limit))


@dataclass(frozen=True)
class _Window:
    start_us: int
    end_us: int  # exclusive
    spans: list[Span]
    cost: int


@dataclass(frozen=True)
class _Left:
    """The part of a query that has not been read yet."""

    steps: StepQuery
    lanes: Lanes
    order: Order
    start_us: int
    end_us: int  # exclusive

    @property
    def newest_first(self) -> bool:
        return self.order is Order.NEWEST_FIRST

    def from_(self, ts_us: int) -> _Left:
        """The part from the bucket of an instant on."""
        start_us = ts_us // self.steps.step_us * self.steps.step_us
        if self.newest_first:
            return replace(self, end_us=min(self.end_us, start_us + self.steps.step_us))
        return replace(self, start_us=max(self.start_us, start_us))

    def behind(self, window: _Window) -> _Left:
        """The part behind a window."""
        if self.newest_first:
            return replace(self, end_us=window.start_us)
        return replace(self, start_us=window.end_us)


def _of_bucket(position: Position, each: Lanes) -> Position:
    """The position with the lane of the group, and without a value, which may have changed."""
    lane = position.series_id
    if position.group:
        lane = bisect_right(list(each.labels.values()), position.group) - 1
    return Position(position.ts_us, lane, math.nan)


async def _edge(connection: Connection, left: _Left, newest: bool) -> int | None:
    """A bound for the newest, or oldest, sample that is left; None if no sample is left."""
    edge = await connection.fetchval(
        _SQL["newest" if newest else "oldest"],
        left.lanes.series_ids.tolist(),
        moment(left.start_us),
        moment(left.end_us),
        moment(-(-left.end_us // DAY_US) * DAY_US),
        moment(left.start_us // DAY_US * DAY_US),
    )
    return None if edge is None else micros(edge)


async def _whole_cost(connection: Connection, left: _Left, most: int) -> int:
    if left.start_us >= left.end_us:
        return 0
    oldest = await _edge(connection, left, newest=False)
    newest = await _edge(connection, left, newest=True)
    if oldest is None or newest is None:
        return 0
    start_us, end_us = max(oldest, left.start_us), min(newest + 1, left.end_us)
    spans = await sources(connection, left.steps, start_us, end_us)
    return await cost_of(connection, left.lanes.series_ids.tolist(), spans, most)


async def _window(connection: Connection, left: _Left, steps_to_read: int | None) -> _Window | None:
    """The next steps that have samples; they are whole, except at the ends of the range.

    At least one, at most ``steps_to_read``, and as many as may be read at once.
    """
    if left.start_us >= left.end_us:
        return None
    first = await _edge(connection, left, left.newest_first)
    if first is None:
        return None
    step_us = left.steps.step_us
    unit = next((unit for unit in _WINDOW_US if step_us % unit == 0), 0)
    count = max(1, -(-_WINDOW_US.get(unit, DAY_US) // step_us))
    count = count if steps_to_read is None else min(count, steps_to_read)
    while True:
        start_us = first // step_us * step_us
        if left.newest_first:
            start_us -= (count - 1) * step_us
        end_us = min(start_us + count * step_us, left.end_us)
        start_us = max(start_us, left.start_us)
        spans = await sources(connection, left.steps, start_us, end_us)
        cost = await cost_of(connection, left.lanes.series_ids.tolist(), spans)
        if cost <= _HELD or count == 1:
            return _Window(start_us, end_us, spans, cost)
        count = max(1, count * _HELD // cost)


async def _read(connection: Connection, left: _Left, window: _Window) -> Samples:
    """The records of a window, in order."""
    pieces = []
    for batch in left.lanes.batches(-(-window.cost // _HELD) or 1):
        ids = batch.series_ids.tolist()
        if left.steps.aggregate.is_of_samples:
            samples = await samples_of(
                connection, ids, window.start_us, window.end_us - 1, lambda _count: None
            )
            pieces.append(await READING.run(aggregated, samples, batch, left.steps))
        else:
            buckets = await buckets_of(connection, ids, window.spans, left.steps.step_us)
            pieces.append(await READING.run(_of_buckets, buckets, batch, left.steps))
    return await READING.run(_in_order, pieces, left.order)


async def _filled(connection: Connection, left: _Left, limits: Limits) -> Samples:
    """All records, with gaps filled. This reads everything: a gap may end anywhere."""
    limits.check_samples(await _whole_cost(connection, left, limits.max_samples))
    pieces, count = [], 0
    while window := await _window(connection, left, None):
        pieces.append(await _read(connection, left, window))
        check_filled(count := count + len(pieces[-1]))
        left = left.behind(window)
    samples = await READING.run(filled, concatenate(pieces), left.steps.step_us)
    return await READING.run(_in_order, [samples], left.order)


def _behind(samples: Samples, query: TelemetryQuery, each: Lanes) -> Samples:
    """The samples that come after the position of the query."""
    if query.after is None:
        return samples
    position = _of_bucket(query.after, each)
    later = samples.ts - position.ts_us
    if query.order is Order.NEWEST_FIRST:
        later = -later
    return Resume(position).rest(samples.take(later >= 0))


def _of_buckets(buckets: Buckets, batch: Lanes, steps: StepQuery) -> Samples:
    if steps.aggregate is Aggregate.SUM:
        of_gpus = _regrouped(buckets, batch.gpu_of(buckets.series_id), steps.step_us)
        return sums_over_gpus(of_gpus, batch)
    if steps.group_by is not None:
        buckets = _regrouped(buckets, batch.of(buckets.series_id), steps.step_us)
    return Samples(buckets.series_id, buckets.start_us, steps.aggregate.of(buckets))


def _regrouped(buckets: Buckets, lane: Int64, step_us: int) -> Buckets:
    """Fold all buckets of one lane and time into one."""
    moved = replace(buckets, series_id=lane)
    return fold(moved.take(np.lexsort((moved.start_us, lane))), step_us)


def _in_order(pieces: Sequence[Samples], order: Order) -> Samples:
    samples = concatenate(pieces)
    start_us = np.maximum(samples.ts, micros(EARLIEST))
    return sort(replace(samples, ts=start_us), order)
