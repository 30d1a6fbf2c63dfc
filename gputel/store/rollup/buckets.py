"""Samples to buckets of time, and buckets to larger ones, without a loop over either.

All answers by step come from ``fold``, and always by the same way: samples to minutes, minutes to
hours, hours to the step, as far as each is a multiple of the one before. So the sum of a bucket is
the same to the last bit, no matter when its minutes were summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import Samples

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


@dataclass(frozen=True)
class Buckets:
    """Columns of one length, in order of series and time.

    ``start_us`` are Unix microseconds, multiples of the step. ``min`` and ``max`` ignore NaN if
    there are other samples; ``sum`` is NaN if a sample is NaN; ``last`` is the newest sample. If
    there are several at that instant, it is the one that telemetry lists first.
    """

    series_id: Int64
    start_us: Int64
    min: Float64
    max: Float64
    sum: Float64
    last: Float64
    count: Int64

    def __len__(self) -> int:
        return len(self.start_us)

    def take(self, where: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> Buckets:
        """The buckets that a mask, an index or a slice selects."""
        return Buckets(*(getattr(self, name)[where] for name in COLUMNS))


COLUMNS = tuple(field.name for field in fields(Buckets))


class Aggregate(StrEnum):
    """How the samples of a bucket become one value."""

    AVG = "avg"  # sum / count, in double precision
    MIN = "min"
    MAX = "max"
    LAST = "last"
    SUM = "sum"  # over GPUs: each counts once, with its value
    COUNT = "count"
    P50 = "p50"  # the median; percentiles are interpolated linearly
    P95 = "p95"
    P99 = "p99"
    RATE = "rate"  # of a counter, per second
    SUM_OVER_TIME = "sum_over_time"  # of all samples

    @property
    def is_of_samples(self) -> bool:
        """Whether it needs all samples, because it cannot be computed from buckets."""
        return self in (Aggregate.P50, Aggregate.P95, Aggregate.P99, Aggregate.RATE)

    def of(self, buckets: Buckets) -> Float64:
        """One number a bucket; not for SUM, nor for aggregates that need all samples."""
        if self is Aggregate.AVG:
            return buckets.sum / buckets.count
        name = "sum" if self is Aggregate.SUM_OVER_TIME else self.value
        column: Float64 = getattr(buckets, name).astype(np.float64)
        return column


def units(step_us: int) -> tuple[int, ...]:
    """The steps to fold by, one after the other, for answers by ``step_us``."""
    coarse = [unit for unit in (MINUTE_US, HOUR_US) if step_us % unit == 0 and step_us > unit]
    return (*coarse, step_us)


def from_samples(samples: Samples) -> Buckets:
    """Samples in any order as buckets of one each."""
    ordered = _ordered(samples)
    value = ordered.value + 0.0  # turns -0.0 into 0.0
    once = np.ones(len(ordered), np.int64)
    return Buckets(ordered.series_id, ordered.ts, value, value, value, value, once)


def fold(buckets: Buckets, step_us: int) -> Buckets:
    """Larger buckets, which begin at multiples of ``step_us`` since 1970-01-01 UTC."""
    start_us = buckets.start_us // step_us * step_us
    changes = np.diff(buckets.series_id) != 0
    changes |= np.diff(start_us) != 0
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1)).astype(np.int64)[: len(buckets)]
    if not len(starts):
        return buckets
    ends = np.append(starts[1:], len(buckets)) - 1
    with np.errstate(invalid="ignore", over="ignore"):
        return Buckets(
            buckets.series_id[starts],
            start_us[starts],
            np.fmin.reduceat(buckets.min, starts),
            np.fmax.reduceat(buckets.max, starts),
            np.add.reduceat(buckets.sum, starts),
            buckets.last[ends],
            np.add.reduceat(buckets.count, starts),
        )


def join(pieces: Sequence[Buckets]) -> Buckets:
    """Pieces in order of time as one, in order of series and time."""
    columns = [np.concatenate([getattr(piece, name) for piece in pieces]) for name in COLUMNS]
    joined = Buckets(*columns)
    return joined.take(np.lexsort((joined.start_us, joined.series_id)))


def _ordered(samples: Samples) -> Samples:
    """Sort by series and time; samples of one instant in the reverse of telemetry's order."""
    same = np.diff(samples.series_id) == 0
    rising = np.diff(samples.ts) > 0
    if np.all(np.where(same, rising, np.diff(samples.series_id) > 0)):
        return samples
    return samples.take(np.lexsort((samples.value, -samples.ts, -samples.series_id))[::-1])
