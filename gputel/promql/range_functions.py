"""Functions of a range vector: from the samples of each window to one value.

Source: prometheus/promql/functions.go, release 2.42.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gputel.promql.extrapolate import extrapolated
from gputel.promql.quantile import of_row, of_rows
from gputel.promql.vector import Bools, Float64, Int64
from gputel.promql.windows import Windows, each_window, parts_of, reduced

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
        with np.errstate(all="ignore"):
            values = _reduced(ufunc, windows)
        return values, windows.count > 0

    return over_time


def _avg(windows: Windows, _range_s: float) -> Result:
    with np.errstate(all="ignore"):
        total = _reduced(np.add, windows)
        return total / windows.count, windows.count > 0


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
        out = each_window(windows, _variances, _variance_of_one)
        with np.errstate(all="ignore"):
            return (np.sqrt(out) if root else out), windows.count > 0

    return spread


def _variances(values: Float64, inside: Bools, _step: Int64) -> Float64:
    values = np.where(inside, values, 0.0)
    with np.errstate(all="ignore"):
        count = inside.sum(axis=1)
        mean = values.sum(axis=1) / count
        apart = np.where(inside, values - mean[:, None], 0.0)
        variance: Float64 = (apart * apart).sum(axis=1) / count
    return variance


def _variance_of_one(values: Float64, _step: int) -> float:
    with np.errstate(all="ignore"):
        mean = sum(float(part.sum()) for part in parts_of(values)) / len(values)
        squares = sum(float(np.square(part - mean).sum()) for part in parts_of(values))
    return squares / len(values)


def quantile_over_time(windows: Windows, wanted: Float64) -> Result:
    """The quantile of each window, ``wanted`` of each step."""
    out = each_window(
        windows,
        lambda values, inside, step: of_rows(values, inside, wanted[step]),
        lambda values, step: of_row(values, float(wanted[step])),
    )
    return out, windows.count > 0


def _reduced(ufunc: np.ufunc, windows: Windows) -> Float64:
    return reduced(ufunc, windows.samples.values, windows.low, windows.high, windows.check)


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": _rate,
    "increase": _increase,
    "delta": _delta,
    "irate": _irate,
    "idelta": _idelta,
    "avg_over_time": _avg,
    "sum_over_time": _over(np.add),
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
}
"""Those of one argument. Each takes windows and their length in seconds; all but last_over_time
leave the metric's name out."""

KEEPS_NAME = frozenset({"last_over_time"})
