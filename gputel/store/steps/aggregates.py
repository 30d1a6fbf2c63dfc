"""Aggregates that need all samples of a bucket: percentiles and rates."""

from __future__ import annotations

import numpy as np

from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import Samples
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.lanes import Lanes

_QUANTILES = {Aggregate.P50: 0.5, Aggregate.P95: 0.95, Aggregate.P99: 0.99}


def aggregated(samples: Samples, batch: Lanes, steps: StepQuery) -> Samples:
    """A record for each lane and bucket, with the time of the bucket's start."""
    if steps.aggregate is Aggregate.RATE:
        increases = rates(samples, steps.step_us)
        lane = increases.series_id if steps.group_by is None else batch.of(increases.series_id)
        return _sums(Samples(lane, increases.ts, increases.value))
    lane = samples.series_id if steps.group_by is None else batch.of(samples.series_id)
    start_us = samples.ts // steps.step_us * steps.step_us
    return quantiles(Samples(lane, start_us, samples.value), _QUANTILES[steps.aggregate])


def quantiles(samples: Samples, quantile: float) -> Samples:
    """The quantile of the samples of each series and time, computed as in PromQL.

    NaN counts as the smallest value. Between two ranks the quantile is interpolated.
    """
    nan = np.isnan(samples.value)
    order = np.lexsort((samples.value, ~nan, samples.ts, samples.series_id))
    ranked = samples.take(order)
    starts = _starts(ranked.series_id, ranked.ts)
    counts = np.diff(starts, append=len(ranked))
    rank = quantile * (counts - 1)
    low = np.floor(rank).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    weight = rank - low
    with np.errstate(invalid="ignore"):
        value = ranked.value[starts + low] * (1 - weight) + ranked.value[starts + high] * weight
    return Samples(ranked.series_id[starts], ranked.ts[starts], value)


def rates(samples: Samples, step_us: int) -> Samples:
    """The increase per second of a counter in each bucket, from its first sample to its last.

    A counter that falls has started again from 0. A bucket with a single instant has no rate.
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
    """The positions where series or time change."""
    changes = np.ones(len(ts), np.bool_)
    changes[1:] = (np.diff(series_id) != 0) | (np.diff(ts) != 0)
    starts: Int64 = np.flatnonzero(changes)
    return starts
