"""Aggregates that need more than the buckets of each lane: percentiles, rates, sums over GPUs."""

from __future__ import annotations

import numpy as np

from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import Samples
from gputel.store.rollup.buckets import Aggregate, Buckets
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.lanes import Lanes

_QUANTILES = {Aggregate.P50: 0.5, Aggregate.P95: 0.95, Aggregate.P99: 0.99}


def aggregated(samples: Samples, batch: Lanes, steps: StepQuery) -> Samples:
    """A record for each lane and bucket, with the time of the bucket's start."""
    if steps.aggregate is Aggregate.RATE:
        return rates(samples, batch, steps.step_us)
    start_us = samples.ts // steps.step_us * steps.step_us
    of_lanes = Samples(batch.of(samples.series_id), start_us, samples.value)
    return quantiles(of_lanes, _QUANTILES[steps.aggregate])


def sums_over_gpus(of_gpus: Buckets, batch: Lanes) -> Samples:
    """For each lane and bucket the sum of the values of its GPUs.

    ``of_gpus`` has a GPU's samples of a bucket under one series, that in ``Lanes.gpu``. Its value
    is the average of a gauge, and the newest of a counter.
    """
    average = of_gpus.sum / of_gpus.count
    value = np.where(batch.are_counters(of_gpus.series_id), of_gpus.last, average)
    return _sums(Samples(batch.of(of_gpus.series_id), of_gpus.start_us, value))


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


def rates(samples: Samples, batch: Lanes, step_us: int) -> Samples:
    """For each lane and bucket the sum of the rates of its GPUs.

    The rate of a GPU is the increase of its series by the time in which they were seen to grow.
    """
    increases, elapsed_s = _increases(samples, step_us)
    gpu = batch.gpu_of(increases.series_id)
    increase = _sums(Samples(gpu, increases.ts, increases.value))
    elapsed = _sums(Samples(gpu, increases.ts, elapsed_s))
    rate = increase.value / elapsed.value
    return _sums(Samples(batch.of(increase.series_id), increase.ts, rate))


def _increases(samples: Samples, step_us: int) -> tuple[Samples, Float64]:
    """The increase of each series in each bucket, and the seconds from its first to last sample.

    A counter that falls has started again from 0. A bucket with a single instant has none.
    """
    ordered = samples.take(np.lexsort((samples.value, samples.ts, samples.series_id)))
    start_us = ordered.ts // step_us * step_us
    starts = _starts(ordered.series_id, start_us)
    if not len(starts):
        return ordered, ordered.value
    ends = np.append(starts[1:], len(ordered)) - 1
    with np.errstate(invalid="ignore"):
        gain = np.diff(ordered.value, prepend=0.0)
        gain = np.where(gain < 0, ordered.value, gain)
        gain[starts] = 0.0
        elapsed_s = (ordered.ts[ends] - ordered.ts[starts]) / 1e6
        some = elapsed_s > 0
        increase: Float64 = np.add.reduceat(gain, starts)
    at = starts[some]
    return Samples(ordered.series_id[at], start_us[at], increase[some]), elapsed_s[some]


def _sums(samples: Samples) -> Samples:
    ordered = samples.take(np.lexsort((samples.ts, samples.series_id)))
    starts = _starts(ordered.series_id, ordered.ts)
    if not len(starts):
        return ordered
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.add.reduceat(ordered.value, starts)
    return Samples(ordered.series_id[starts], ordered.ts[starts], total)


def _starts(series_id: Int64, ts: Int64) -> Int64:
    """The positions where series or time change."""
    changes = np.ones(len(ts), np.bool_)
    changes[1:] = (np.diff(series_id) != 0) | (np.diff(ts) != 0)
    starts: Int64 = np.flatnonzero(changes)
    return starts
