"""rate, increase and delta: what the samples of a window say of the whole window.

Source: ``extrapolatedRate`` of prometheus/promql/functions.go, release 2.42.
"""

from __future__ import annotations

import numpy as np

from gputel.promql.values.vector import Bools, Float64
from gputel.promql.values.windows import Windows, reduced

_THRESHOLD = 1.1  # average distances of samples from the window's edge at which it counts as near


def extrapolated(
    windows: Windows, range_s: float, *, counter: bool, rate: bool
) -> tuple[Float64, Bools]:
    """The growth over each window, a second where ``rate``; for windows of two samples or more."""
    samples, count = windows.samples, windows.count
    there = count >= 2
    if not there.any():
        return np.zeros(there.shape), there
    first, last = np.where(there, windows.low, 0), np.where(there, windows.high - 1, 0)
    first_value, first_ts, last_ts = samples.values[first], samples.ts[first], samples.ts[last]
    growth = samples.values[last] - first_value
    if counter:
        growth += resets(windows, there)
    to_start = (first_ts - windows.start_us) / 1e6
    to_end = (windows.end_us - last_ts) / 1e6
    sampled = (last_ts - first_ts) / 1e6
    apart = sampled / (count - 1)
    if counter:
        to_zero = sampled * (first_value / growth)
        falls = (growth > 0) & (first_value >= 0) & (to_zero < to_start)
        np.copyto(to_start, to_zero, where=falls)
    near = apart * _THRESHOLD
    np.copyto(to_start, apart / 2, where=~(to_start < near))
    np.copyto(to_end, apart / 2, where=~(to_end < near))
    factor = (sampled + to_start + to_end) / sampled
    if rate:
        factor /= range_s
    growth *= factor
    return growth, there


def resets(windows: Windows, there: Bools) -> Float64:
    """What a counter had when it fell back, summed over each window."""
    values = windows.samples.values
    fell = np.zeros(len(values), np.bool_)
    fell[1:] = values[1:] < values[:-1]
    added = np.zeros(there.shape)
    if fell.any():
        before = np.zeros(len(values))
        before[1:] = np.where(fell[1:], values[:-1], 0.0)
        so_far = np.concatenate([[0], np.cumsum(fell)])
        low = np.minimum(windows.low + 1, windows.high)
        some = there & (so_far[windows.high] > so_far[low])
        added[some] = reduced(np.add, before, low[some], windows.high[some], windows.check)
    return added
