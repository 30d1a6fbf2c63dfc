"""Telemetry by step: one record for each bucket of time and series, or group of them.

The range is read a window of whole steps at a time, in the order asked for, and a window some
series at a time, so that neither a long time nor a large fleet is held at once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gputel.store import queries
from gputel.store.blocks.blocks import DAY_US, Int64
from gputel.store.blocks.samples import Samples, concatenate, micros
from gputel.store.limits import ANY, Limits
from gputel.store.read.reader import EARLIEST, Connection, Reader
from gputel.store.read.records import Records
from gputel.store.read.series_reader import moment, samples_of
from gputel.store.read.telemetry import Asked, in_pieces
from gputel.store.read.time_order import Order, Position, Resume, sort
from gputel.store.rollup.buckets import HOUR_US, MINUTE_US, Buckets, fold
from gputel.store.rollup.plan import Span
from gputel.store.rollup.reader import Steps, buckets_of, sources
from gputel.store.steps import lanes
from gputel.store.steps.aggregates import aggregated
from gputel.store.steps.cost import cost_of
from gputel.store.steps.filling import check_filled, filled
from gputel.store.steps.lanes import Lanes
from gputel.threads import READING

_SQL = queries.load("rollup")
_WINDOW_US = {HOUR_US: 64 * DAY_US, MINUTE_US: 8 * DAY_US}
_HELD = 1_000_000  # samples and buckets that are read at once


async def telemetry_by_step(
    reader: Reader, asked: Asked, steps: Steps, limits: Limits = ANY
) -> AsyncGenerator[Records, None]:
    """What ``telemetry`` gives, but one record for each bucket and lane that has samples.

    Its timestamp is the beginning of the bucket, its value the aggregate of the samples from
    ``start`` to ``end`` inclusive in it. ``limit`` is of buckets; ``after`` is the position of
    one. Raises QueryTooLarge over the limits: before the first record, unless there is a limit.
    """
    async with reader.snapshot() as connection:
        within = replace(asked, after=None).bounded()
        series = await reader.series(connection, asked.selection, within.start, within.end, limits)
        if not series:
            return
        group_by = steps.group_by
        each = lanes.each(series) if group_by is None else lanes.grouped(series, group_by)
        left = _Left(steps, each, asked.order, micros(within.start), micros(within.end) + 1)
        if steps.fill:
            samples = await _filled(connection, left, limits)
            samples = await READING.run(_behind, samples, asked, each)
            for records in in_pieces(samples, each.labels, asked.limit):
                yield records
            return
        resume = Resume(None)
        if asked.after is not None:
            left = left.from_(asked.after.ts_us)
            resume = Resume(_of_bucket(asked.after, each))
        if asked.limit is None:
            limits.check_samples(await _whole_cost(connection, left, limits.max_samples))
        wanted, cost = asked.limit, 0
        steps_wanted = None if wanted is None else wanted // len(series) + 1
        while window := await _window(connection, left, steps_wanted):
            limits.check_samples(cost := cost + window.cost)
            found = resume.rest(await _read(connection, left, window))
            for records in in_pieces(found, each.labels, wanted):
                yield records
            if wanted is not None:
                wanted -= len(found)
                if wanted <= 0:
                    return
            left = left.behind(window)
            steps_wanted = steps_wanted and 4 * steps_wanted


@dataclass(frozen=True)
class _Window:
    start_us: int
    end_us: int  # exclusive
    spans: list[Span]
    cost: int


@dataclass(frozen=True)
class _Left:
    """What has not been read yet."""

    steps: Steps
    lanes: Lanes
    order: Order
    start_us: int
    end_us: int  # exclusive

    @property
    def newest_first(self) -> bool:
        return self.order is Order.NEWEST_FIRST

    def from_(self, ts_us: int) -> _Left:
        """The rest, from the bucket of an instant on."""
        start_us = ts_us // self.steps.step_us * self.steps.step_us
        if self.newest_first:
            return replace(self, end_us=min(self.end_us, start_us + self.steps.step_us))
        return replace(self, start_us=max(self.start_us, start_us))

    def behind(self, window: _Window) -> _Left:
        """The rest behind a window."""
        if self.newest_first:
            return replace(self, end_us=window.start_us)
        return replace(self, start_us=window.end_us)


def _of_bucket(position: Position, each: Lanes) -> Position:
    """The same place, whatever the value there has become; of a group, by its labels."""
    lane = position.series_id
    if position.group:
        lane = bisect_right(list(each.labels.values()), position.group) - 1
    return Position(position.ts_us, lane, math.nan)


async def _edge(connection: Connection, left: _Left, newest: bool) -> int | None:
    """No sample that is left is newer, or older, than this; None if there is none."""
    found = await connection.fetchval(
        _SQL["newest" if newest else "oldest"],
        left.lanes.series_ids.tolist(),
        moment(left.start_us),
        moment(left.end_us),
        moment(-(-left.end_us // DAY_US) * DAY_US),
        moment(left.start_us // DAY_US * DAY_US),
    )
    return None if found is None else micros(found)


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


async def _window(connection: Connection, left: _Left, steps_wanted: int | None) -> _Window | None:
    """Whole steps, but for the ends of the range, with the first samples in them.

    As many as there may be read at once, and no more than ``steps_wanted``, but at least one.
    """
    if left.start_us >= left.end_us:
        return None
    first = await _edge(connection, left, left.newest_first)
    if first is None:
        return None
    step_us = left.steps.step_us
    unit = next((unit for unit in _WINDOW_US if step_us % unit == 0), 0)
    count = max(1, -(-_WINDOW_US.get(unit, DAY_US) // step_us))
    count = count if steps_wanted is None else min(count, steps_wanted)
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
    found = []
    for batch in left.lanes.batches(-(-window.cost // _HELD) or 1):
        ids = batch.series_ids.tolist()
        if left.steps.aggregate.is_of_samples:
            samples = await samples_of(
                connection, ids, window.start_us, window.end_us - 1, lambda _count: None
            )
            found.append(await READING.run(aggregated, samples, batch, left.steps))
        else:
            buckets = await buckets_of(connection, ids, window.spans, left.steps.step_us)
            found.append(await READING.run(_of_buckets, buckets, batch, left.steps))
    return await READING.run(_in_order, found, left.order)


async def _filled(connection: Connection, left: _Left, limits: Limits) -> Samples:
    """All records, and those of the gaps: their ends are known only when everything is."""
    limits.check_samples(await _whole_cost(connection, left, limits.max_samples))
    found, count = [], 0
    while window := await _window(connection, left, None):
        found.append(await _read(connection, left, window))
        check_filled(count := count + len(found[-1]))
        left = left.behind(window)
    samples = await READING.run(filled, concatenate(found), left.steps.step_us)
    return await READING.run(_in_order, [samples], left.order)


def _behind(samples: Samples, asked: Asked, each: Lanes) -> Samples:
    """Those of all samples that come after the position asked for."""
    if asked.after is None:
        return samples
    place = _of_bucket(asked.after, each)
    later = samples.ts - place.ts_us
    if asked.order is Order.NEWEST_FIRST:
        later = -later
    return Resume(place).rest(samples.take(later >= 0))


def _of_buckets(buckets: Buckets, batch: Lanes, steps: Steps) -> Samples:
    if steps.group_by is not None:
        buckets = _regrouped(buckets, batch.of(buckets.series_id), steps.step_us)
    return Samples(buckets.series_id, buckets.start_us, steps.aggregate.of(buckets))


def _regrouped(buckets: Buckets, lane: Int64, step_us: int) -> Buckets:
    """All buckets of a lane and a time as one."""
    moved = replace(buckets, series_id=lane)
    return fold(moved.take(np.lexsort((moved.start_us, lane))), step_us)


def _in_order(found: Sequence[Samples], order: Order) -> Samples:
    samples = concatenate(found)
    start_us = np.maximum(samples.ts, micros(EARLIEST))
    return sort(replace(samples, ts=start_us), order)
