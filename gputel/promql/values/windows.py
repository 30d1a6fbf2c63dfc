"""Windows over samples: which samples each series has in the window before each step.

Functions of windows process them in blocks of bounded size. Between blocks they check whether the
request still waits for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gputel.promql.values.bounds import Check
from gputel.promql.values.samples import SeriesSamples, places
from gputel.promql.values.vector import Bools, Float64, Int64

Numbers = TypeVar("Numbers", Float64, Int64)
_CELLS_AT_ONCE = 262_144  # series times steps: a few milliseconds, and some 20 MB in between
_READ_AT_ONCE = 4_000_000  # samples that are only added up
_COPIED_AT_ONCE = 500_000  # samples that are copied out of their windows


@dataclass(frozen=True)
class Windows:
    """Series by steps: the samples from ``low`` up to ``high`` lie in the step's window.

    The window of step ``i`` is from ``start_us[i]`` to ``end_us[i]``, both inclusive, as in
    Prometheus 2. ``check`` may raise to end the work.
    """

    samples: SeriesSamples
    low: Int64
    high: Int64
    start_us: Int64
    end_us: Int64
    check: Check

    @property
    def count(self) -> Int64:
        """How many samples each window has."""
        return self.high - self.low


def windows(samples: SeriesSamples, ends_us: Int64, range_us: int, check: Check) -> Windows:
    """The windows that end at these moments."""
    samples = _without_stale(samples)
    starts = ends_us - range_us
    low = places(samples, starts, after=False)
    return Windows(samples, low, places(samples, ends_us, after=True), starts, ends_us, check)


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


def reduced(ufunc: np.ufunc, values: Float64, low: Int64, high: Int64, check: Check) -> Float64:
    """``ufunc`` over ``values[low:high]`` of each window; NaN for an empty one.

    Windows that overlap are read each for itself, so that no rounding of one is in another.
    """
    out = np.full(low.shape, np.nan)
    some = high > low
    if some.any():
        begins, ends = low[some], high[some]
        if ends.max() == len(values):
            values = np.append(values, 0.0)
        found = np.empty(len(begins))
        for piece in _pieces(ends - begins):
            check()
            edges = np.empty(2 * (piece.stop - piece.start), np.int64)
            edges[0::2], edges[1::2] = begins[piece], ends[piece]
            found[piece] = ufunc.reduceat(values, edges)[::2]
        out[some] = found
    return out


def each_window(
    windows: Windows,
    of_many: Callable[[Int64, Bools, Int64], Float64],
    of_one: Callable[[int, int, int], float],
) -> Float64:
    """What a function makes of each window; 0 for an empty one.

    ``of_many`` is given the places of samples, windows by samples; which of these count; and the
    step of each window. ``of_one`` is given the first place, the end and the step of one window
    that is too large for that.
    """
    out = np.zeros(windows.low.size)
    low, high, counts = windows.low.ravel(), windows.high.ravel(), windows.count.ravel()
    steps = windows.low.shape[1]
    order = np.argsort(counts, kind="stable")  # windows of a like size share a block
    order = order[np.searchsorted(counts[order], 1) :]
    for piece in _like_pieces(counts[order]):
        windows.check()
        rows = order[piece]
        if counts[rows[0]] > _COPIED_AT_ONCE:
            row = int(rows[0])
            out[row] = of_one(int(low[row]), int(high[row]), row % steps)
            continue
        index = low[rows, None] + np.arange(int(counts[rows[-1]]))
        inside = index < high[rows, None]
        out[rows] = of_many(np.where(inside, index, 0), inside, rows % steps)
    return out.reshape(windows.low.shape)


def parts_of(values: Numbers) -> Iterator[Numbers]:
    """The samples of a large window, some at a time."""
    for first in range(0, len(values), _COPIED_AT_ONCE):
        yield values[first : first + _COPIED_AT_ONCE]


def blocks(series: int, steps: int) -> Iterator[slice]:
    """Series to work on at a time, so that what they need in between stays small."""
    at_once = max(1, _CELLS_AT_ONCE // max(1, steps))
    for first in range(0, series, at_once):
        yield slice(first, min(first + at_once, series))


def _pieces(counts: Int64) -> Iterator[slice]:
    """Neighbours with not too many samples together; a large window stands alone."""
    total, first = np.cumsum(counts), 0
    while first < len(counts):
        most = _READ_AT_ONCE + (int(total[first - 1]) if first else 0)
        end = max(first + 1, int(np.searchsorted(total, most, side="right")))
        yield slice(first, end)
        first = end


def _like_pieces(counts: Int64) -> Iterator[slice]:
    """Of ascending counts, neighbours whose number times the largest count is not too much."""
    first = 0
    while first < len(counts):
        ahead = counts[first : first + max(1, _COPIED_AT_ONCE // int(counts[first]))]
        cells = ahead * np.arange(1, len(ahead) + 1)
        end = first + max(1, int(np.searchsorted(cells, _COPIED_AT_ONCE, side="right")))
        yield slice(first, end)
        first = end


def _without_stale(samples: SeriesSamples) -> SeriesSamples:
    stale = samples.stale
    if not stale.any():
        return samples
    kept = np.concatenate([[0], np.cumsum(~stale)])
    return SeriesSamples(
        samples.labels, kept[samples.bounds], samples.ts[~stale], samples.values[~stale]
    )
