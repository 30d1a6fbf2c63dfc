"""deriv, predict_linear and holt_winters: the trend of each window.

Source: ``linearRegression`` and ``funcHoltWinters`` of prometheus/promql/functions.go, 2.42.
"""

from __future__ import annotations

import math

import numpy as np

from gputel.errors import ExpressionFailed
from gputel.promql.values.vector import Bools, Float64, Int64
from gputel.promql.values.windows import Windows, each_window, parts_of

_ROWS_TO_LOOP = 32  # fewer windows are sooner gone through number by number


def deriv(windows: Windows) -> tuple[Float64, Bools]:
    """The slope of a line through each window, per second."""
    samples = windows.samples

    def of_many(index: Int64, inside: Bools, _step: Int64) -> Float64:
        start = samples.ts[index[:, 0]]
        return _regression(windows, index, inside, start)[0]

    def of_one(low: int, high: int, _step: int) -> float:
        return _regression_of_one(windows, low, high, int(samples.ts[low]))[0]

    return each_window(windows, of_many, of_one), windows.count >= 2


def predict_linear(windows: Windows, seconds: Float64, steps_us: Int64) -> tuple[Float64, Bools]:
    """Where that line is, so many seconds after each step."""

    def of_many(index: Int64, inside: Bools, step: Int64) -> Float64:
        slope, intercept = _regression(windows, index, inside, steps_us[step])
        return slope * seconds[step] + intercept

    def of_one(low: int, high: int, step: int) -> float:
        slope, intercept = _regression_of_one(windows, low, high, int(steps_us[step]))
        return slope * float(seconds[step]) + intercept

    return each_window(windows, of_many, of_one), windows.count >= 2


def _regression(
    windows: Windows, index: Int64, inside: Bools, at_us: Int64
) -> tuple[Float64, Float64]:
    """Slope and intercept of windows by samples; x is in seconds after ``at_us`` of each."""
    values = windows.samples.values[index]
    first = values[:, :1]
    count = inside.sum(axis=1)
    x = np.where(inside, (windows.samples.ts[index] - at_us[:, None]) / 1e6, 0.0)
    middle = x.sum(axis=1) / count
    x = np.where(inside, x - middle[:, None], 0.0)
    y = np.where(inside, values - first, 0.0)
    slope = (x * y).sum(axis=1) / (x * x).sum(axis=1)
    intercept = first[:, 0] + y.sum(axis=1) / count - slope * middle
    level = np.where(inside, values == first, True).all(axis=1)
    slope, intercept = np.where(level, 0.0, slope), np.where(level, first[:, 0], intercept)
    finite = np.where(inside, np.isfinite(values), True).all(axis=1)
    return np.where(finite, slope, np.nan), np.where(finite, intercept, np.nan)


def _regression_of_one(windows: Windows, low: int, high: int, at_us: int) -> tuple[float, float]:
    """The same of one large window, some of its samples at a time."""
    values, ts = windows.samples.values[low:high], windows.samples.ts[low:high]
    count, first = high - low, float(values[0])
    if not all(np.isfinite(part).all() for part in parts_of(values)):
        return math.nan, math.nan
    if all((part == first).all() for part in parts_of(values)):
        return 0.0, first
    middle = math.fsum(float(((part - at_us) / 1e6).sum()) for part in parts_of(ts)) / count
    top = bottom = rise = 0.0
    for y, moments in zip(parts_of(values), parts_of(ts), strict=True):
        windows.check()
        x = (moments - at_us) / 1e6 - middle
        top += float((x * (y - first)).sum())
        bottom += float((x * x).sum())
        rise += float((y - first).sum())
    slope = top / bottom
    return slope, first + rise / count - slope * middle


def holt_winters(
    windows: Windows, smoothing: Float64, trend: Float64, _steps_us: Int64
) -> tuple[Float64, Bools]:
    """Each window smoothed, its trend included: the last smoothed value."""
    asked = (windows.count > 0).any(axis=0)
    for name, factor in (("smoothing", smoothing), ("trend", trend)):
        wrong = asked & ((factor <= 0) | (factor >= 1))
        if wrong.any():
            raise ExpressionFailed(
                f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {factor[wrong][0]:f}"
            )

    def of_many(index: Int64, inside: Bools, step: Int64) -> Float64:
        values = windows.samples.values[index]
        if len(values) >= _ROWS_TO_LOOP:
            return _smoothed(values, inside, smoothing[step], trend[step])
        counts = inside.sum(axis=1).tolist()
        return np.array(
            [
                _smoothed_one(row[:count].tolist(), float(smoothing[at]), float(trend[at]))
                for row, count, at in zip(values, counts, step.tolist(), strict=True)
            ]
        )

    def of_one(low: int, high: int, step: int) -> float:
        values = windows.samples.values[low:high].tolist()
        return _smoothed_one(values, float(smoothing[step]), float(trend[step]))

    return each_window(windows, of_many, of_one), windows.count >= 2


def _smoothed(values: Float64, inside: Bools, smoothing: Float64, trend: Float64) -> Float64:
    now = values[:, 0].copy()
    if values.shape[1] < 2:
        return now
    before, rise = np.zeros(len(values)), values[:, 1] - now
    for place in range(1, values.shape[1]):
        there = inside[:, place]
        if place > 1:
            rise = np.where(there, trend * (now - before) + (1 - trend) * rise, rise)
        new = smoothing * values[:, place] + (1 - smoothing) * (now + rise)
        before, now = np.where(there, now, before), np.where(there, new, now)
    return now


def _smoothed_one(values: list[float], smoothing: float, trend: float) -> float:
    if len(values) < 2:
        return 0.0
    before, now, rise = 0.0, values[0], values[1] - values[0]
    for place in range(1, len(values)):
        if place > 1:
            rise = trend * (now - before) + (1 - trend) * rise
        before, now = now, smoothing * values[place] + (1 - smoothing) * (now + rise)
    return now
