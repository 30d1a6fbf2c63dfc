"""Functions of a range vector: from the samples of each window to one value.

Source: prometheus/promql/functions.go, release 2.42.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gputel.promql.functions.extrapolate import extrapolated
from gputel.promql.functions.quantile import of_row, of_rows
from gputel.promql.functions.sums import window_means, window_sums
from gputel.promql.functions.trends import deriv, holt_winters, predict_linear
from gputel.promql.values.vector import Bools, Float64, Int64
from gputel.promql.values.windows import Windows, each_window, parts_of, reduced

Result = tuple[Float64, Bools]
RangeFunction = Callable[[Windows, float], Result]


def _delta(windows: Windows, range_s: float) -> Result:
    return extrapolated(windows, range_s, counter=False, rate=False)


def _increase(windows: Windows, range_s: float) -> Result:
    return extrapolated(windows, range_s, counter=True, rate=False)


def _rate(windows: Windows, range_s: float) -> Result:
    return extrapolated(windows, range_s, counter=True, rate=True)


def _instant(windows: Windows, *, rate: bool) -> Result:
    there = windows.count >= 2
    last = np.where(there, windows.high - 1, 1)
    if not there.any():
        return np.zeros(there.shape), there
    values, ts = windows.samples.values, windows.samples.ts
    value = values[last] - values[last - 1]
    if rate:
        value = np.where(values[last] < values[last - 1], values[last], value)
        value = value / np.where(there, (ts[last] - ts[last - 1]) / 1e6, 1.0)
    return value, there


def _irate(windows: Windows, _range_s: float) -> Result:
    return _instant(windows, rate=True)


def _idelta(windows: Windows, _range_s: float) -> Result:
    return _instant(windows, rate=False)


def _over(ufunc: np.ufunc) -> RangeFunction:
    def over_time(windows: Windows, _range_s: float) -> Result:
        values = reduced(ufunc, windows.samples.values, windows.low, windows.high, windows.check)
        return values, windows.count > 0

    return over_time


def _sum(windows: Windows, _range_s: float) -> Result:
    return window_sums(windows), windows.count > 0


def _avg(windows: Windows, _range_s: float) -> Result:
    return window_means(windows), windows.count > 0


def _count(windows: Windows, _range_s: float) -> Result:
    return windows.count.astype(np.float64), windows.count > 0


def _present(windows: Windows, _range_s: float) -> Result:
    return np.ones(windows.count.shape), windows.count > 0


def _last(windows: Windows, _range_s: float) -> Result:
    there = windows.count > 0
    if not there.any():
        return np.zeros(there.shape), there
    return windows.samples.values[np.where(there, windows.high - 1, 0)], there


def _turns(happened: Callable[[Float64, Float64], Bools]) -> RangeFunction:
    def turns(windows: Windows, _range_s: float) -> Result:
        values = windows.samples.values
        turned = np.zeros(len(values) + 1, np.int64)
        turned[2:] = np.cumsum(happened(values[:-1], values[1:]))
        there = windows.count > 0
        from_ = np.minimum(windows.low + 1, windows.high)
        return (turned[windows.high] - turned[from_]).astype(np.float64), there

    return turns


def _changed(before: Float64, after: Float64) -> Bools:
    differ: Bools = (before != after) & ~(np.isnan(before) & np.isnan(after))
    return differ


def _fell(before: Float64, after: Float64) -> Bools:
    fell: Bools = after < before
    return fell


def _spread(*, root: bool) -> RangeFunction:
    def spread(windows: Windows, _range_s: float) -> Result:
        out = _variances(windows)
        return (np.sqrt(out) if root else out), windows.count > 0

    return spread


def _variances(windows: Windows) -> Float64:
    """The variance of each window, of distances from its first value: equal values have none."""
    samples = windows.samples.values

    def of_many(index: Int64, inside: Bools, _step: Int64) -> Float64:
        values = samples[index]
        values = np.where(inside, values - values[:, :1], 0.0)
        count = inside.sum(axis=1)
        mean = values.sum(axis=1) / count
        apart = np.where(inside, values - mean[:, None], 0.0)
        variance: Float64 = (apart * apart).sum(axis=1) / count
        return variance

    def of_one(low: int, high: int, _step: int) -> float:
        values, first, count = samples[low:high], samples[low], high - low
        mean = sum(float((part - first).sum()) for part in parts_of(values)) / count
        squares = sum(float(np.square(part - first - mean).sum()) for part in parts_of(values))
        return squares / count

    return each_window(windows, of_many, of_one)


def _quantile_over_time(windows: Windows, quantile: Float64, _steps_us: Int64) -> Result:
    """The quantile of each window, one ``quantile`` a step."""
    values = windows.samples.values
    out = each_window(
        windows,
        lambda index, inside, step: of_rows(values[index], inside, quantile[step]),
        lambda low, high, step: of_row(values[low:high], float(quantile[step])),
    )
    return out, windows.count > 0


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": _rate,
    "increase": _increase,
    "delta": _delta,
    "irate": _irate,
    "idelta": _idelta,
    "avg_over_time": _avg,
    "sum_over_time": _sum,
    # fmin and fmax pass over NaN, as Prometheus does.
    "min_over_time": _over(np.fmin),
    "max_over_time": _over(np.fmax),
    "count_over_time": _count,
    "last_over_time": _last,
    "present_over_time": _present,
    "stddev_over_time": _spread(root=True),
    "stdvar_over_time": _spread(root=False),
    "changes": _turns(_changed),
    "resets": _turns(_fell),
    "deriv": lambda windows, _range_s: deriv(windows),
}
"""Those of one argument. Each takes windows and their length in seconds; all but last_over_time
leave the metric's name out."""

KEEPS_NAME = frozenset({"last_over_time"})

WITH_SCALARS: dict[str, Callable[..., Result]] = {
    "quantile_over_time": _quantile_over_time,
    "predict_linear": predict_linear,
    "holt_winters": holt_winters,
}
"""Those of more arguments. Each takes windows, the scalars by step, and the steps."""
