"""Sums and averages over windows in which large numbers may cancel out or run over.

Prometheus compensates for rounding (Kahan and Neumaier). Here most windows are summed pairwise,
which rounds as little; those in which it may show are summed exactly.
"""

from __future__ import annotations

import math
from itertools import chain

import numpy as np

from gputel.promql.values.vector import Bools, Float64
from gputel.promql.values.windows import Windows, parts_of, reduced

_FEW_WINDOWS, _FEW_SAMPLES = 200, 20_000  # together; they are summed exactly in any case
_CANCELS = 1e-4  # what is left of numbers that cancel out, as a share of their sizes
_LARGEST = np.finfo(np.float64).max


def window_sums(windows: Windows) -> Float64:
    """The sum of each window; NaN of an empty one."""
    values = windows.samples.values
    total = reduced(np.add, values, windows.low, windows.high, windows.check)
    exact = np.isfinite(total) & (windows.count > 1)
    if total.size > _FEW_WINDOWS or int(windows.count.sum()) > _FEW_SAMPLES:
        exact &= _cancels(windows, total)
    for window in np.argwhere(exact):
        windows.check()
        here = tuple(window)
        try:
            total[here] = _exact(values[windows.low[here] : windows.high[here]])
        except OverflowError:
            continue  # in between: the sum itself is not too large
    return total


def window_means(windows: Windows) -> Float64:
    """The average of each window; NaN of an empty one."""
    values = windows.samples.values
    means = window_sums(windows) / windows.count
    odd = ~np.isfinite(means) & (windows.count > 0)
    if odd.any():
        nan = np.isnan(values).astype(np.float64)
        odd &= reduced(np.add, nan, windows.low, windows.high, windows.check) == 0
    for window in np.argwhere(odd):
        windows.check()
        here = tuple(window)
        means[here] = _mean(values[windows.low[here] : windows.high[here]])
    return means


def _cancels(windows: Windows, total: Float64) -> Bools:
    values = windows.samples.values
    if np.all(values >= 0):
        return np.zeros(total.shape, np.bool_)
    size = reduced(np.add, np.abs(values), windows.low, windows.high, windows.check)
    cancels: Bools = np.abs(total) < size * _CANCELS
    return cancels


def _exact(values: Float64) -> float:
    return math.fsum(chain.from_iterable(part.tolist() for part in parts_of(values)))


def _mean(values: Float64) -> float:
    """Of numbers whose sum is not finite, none of them NaN."""
    infinite = set(values[np.isinf(values)].tolist())
    if infinite:
        return math.nan if len(infinite) > 1 else infinite.pop()
    half = _exact(values / (2.0 * len(values)))
    return 2.0 * min(max(half, -_LARGEST / 2), _LARGEST / 2)
