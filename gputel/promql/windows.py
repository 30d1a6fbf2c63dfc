"""Windows over samples: which samples each series has in the window before each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gputel.promql.samples import SeriesSamples, places
from gputel.promql.vector import Bools, Float64, Int64

_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Windows:
    """Series by steps: the samples from ``low`` up to ``high`` lie in the step's window.

    The window of step ``i`` is from ``start_us[i]`` to ``end_us[i]``, both inclusive, as in
    Prometheus 2.
    """

    samples: SeriesSamples
    low: Int64
    high: Int64
    start_us: Int64
    end_us: Int64

    @property
    def count(self) -> Int64:
        """How many samples each window has."""
        return self.high - self.low


def windows(samples: SeriesSamples, ends_us: Int64, range_us: int) -> Windows:
    """The windows that end at these moments."""
    samples = _without_stale(samples)
    starts = ends_us - range_us
    low = places(samples, starts, after=False)
    return Windows(samples, low, places(samples, ends_us, after=True), starts, ends_us)


def newest(samples: SeriesSamples, moments: Int64, lookback_us: int) -> tuple[Int64, Bools]:
    """The place of each series' newest sample at each moment, and whether there is one.

    One that is older than the lookback does not count, nor does one behind a stale marker.
    """
    place = places(samples, moments, after=True) - 1
    there = place >= samples.bounds[:-1, None]
    place = np.where(there, place, 0)
    if len(samples.ts):
        there &= samples.ts[place] >= (moments - lookback_us)[None, :]
        there &= ~samples.stale[place]
    return place, there


def reduced(ufunc: np.ufunc, values: Float64, low: Int64, high: Int64) -> Float64:
    """``ufunc`` over ``values[low:high]`` of each window; NaN for an empty one.

    Windows that overlap are read each for itself, so that no rounding of one is in another.
    """
    out = np.full(low.shape, np.nan)
    some = high > low
    if some.any():
        edges = np.empty(2 * int(np.count_nonzero(some)), np.int64)
        edges[0::2], edges[1::2] = low[some], high[some]
        if edges[1::2].max() == len(values):
            values = np.append(values, 0.0)
        out[some] = ufunc.reduceat(values, edges)[::2]
    return out


def padded(windows: Windows, row: int) -> tuple[Float64, Bools] | None:
    """The samples of one series' windows, steps by most samples; and which of them count."""
    low, high = windows.low[row], windows.high[row]
    most = int((high - low).max(initial=0))
    if most == 0:
        return None
    index = low[:, None] + np.arange(most)
    inside = index < high[:, None]
    return windows.samples.values[np.where(inside, index, 0)], inside


def at_once(samples: SeriesSamples, steps: int) -> int:
    """How many series to work on at a time, so that what they need in between stays small."""
    return max(1, min(len(samples), _CELLS_AT_ONCE // max(1, steps)))


def _without_stale(samples: SeriesSamples) -> SeriesSamples:
    stale = samples.stale
    if not stale.any():
        return samples
    kept = np.concatenate([[0], np.cumsum(~stale)])
    return SeriesSamples(
        samples.labels, kept[samples.bounds], samples.ts[~stale], samples.values[~stale]
    )
