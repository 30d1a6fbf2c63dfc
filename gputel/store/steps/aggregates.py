"""Aggregates that rollups cannot tell: percentiles and rates, of the samples of each bucket."""

from __future__ import annotations

import numpy as np

from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import Samples
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.reader import Steps
from gputel.store.steps.lanes import Lanes

_QUANTILES = {Aggregate.P50: 0.5, Aggregate.P95: 0.95, Aggregate.P99: 0.99}


def aggregated(samples: Samples, batch: Lanes, steps: Steps) -> Samples:
    """A record for each lane and bucket, at its beginning."""
    if steps.aggregate is Aggregate.RATE:
        found = rates(samples, steps.step_us)
        lane = found.series_id if steps.group_by is None else batch.of(found.series_id)
        return _sums(Samples(lane, found.ts, found.value))
    lane = samples.series_id if steps.group_by is None else batch.of(samples.series_id)
    start_us = samples.ts // steps.step_us * steps.step_us
    return quantiles(Samples(lane, start_us, samples.value), _QUANTILES[steps.aggregate])


def quantiles(samples: Samples, wanted: float) -> Samples:
    """Of the samples of each series and time the quantile, as PromQL has it.

    NaN is the smallest value; between two ranks the quantile lies in proportion.
    """
    nan = np.isnan(samples.value)
    order = np.lexsort((samples.value, ~nan, samples.ts, samples.series_id))
    ranked = samples.take(order)
    starts = _starts(ranked.series_id, ranked.ts)
    counts = np.diff(starts, append=len(ranked))
    rank = wanted * (counts - 1)
    low = np.floor(rank).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    weight = rank - low
    with np.errstate(invalid="ignore"):
        value = ranked.value[starts + low] * (1 - weight) + ranked.value[starts + high] * weight
    return Samples(ranked.series_id[starts], ranked.ts[starts], value)


def rates(samples: Samples, step_us: int) -> Samples:
    """Of the samples of a counter in each bucket the increase a second, between first and last.

    A value that falls began anew from 0. Buckets of a single instant have none.
    """
    ordered = samples.take(np.lexsort((samples.value, samples.ts, samples.series_id)))
    start_us = ordered.ts // step_us * step_us
    starts = _starts(ordered.series_id, start_us)
    if not len(starts):
        return ordered
    ends = np.append(starts[1:], len(ordered)) - 1
    with np.errstate(invalid="ignore"):
        gain = np.diff(ordered.value, prepend=0.0)
        gain = np.where(gain < 0, ordered.value, gain)
        gain[starts] = 0.0
        elapsed_s = (ordered.ts[ends] - ordered.ts[starts]) / 1e6
        some = elapsed_s > 0
        increase: Float64 = np.add.reduceat(gain, starts)
    at = starts[some]
    return Samples(ordered.series_id[at], start_us[at], increase[some] / elapsed_s[some])


def _sums(samples: Samples) -> Samples:
    ordered = samples.take(np.lexsort((samples.ts, samples.series_id)))
    starts = _starts(ordered.series_id, ordered.ts)
    if not len(starts):
        return ordered
    total = np.add.reduceat(ordered.value, starts)
    return Samples(ordered.series_id[starts], ordered.ts[starts], total)


def _starts(series_id: Int64, ts: Int64) -> Int64:
    """Where series or time change."""
    changes = np.ones(len(ts), np.bool_)
    changes[1:] = (np.diff(series_id) != 0) | (np.diff(ts) != 0)
    found: Int64 = np.flatnonzero(changes)
    return found
