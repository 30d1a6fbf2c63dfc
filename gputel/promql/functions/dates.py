"""The parts of a date, of Unix seconds in UTC.

Source: ``dateWrapper`` of prometheus/promql/functions.go, release 2.42, and ``absDate`` of Go's
time package: seconds far outside of any calendar wrap around as they do there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gputel.promql.values.vector import Float64

_Whole = npt.NDArray[np.uint64]
_ZERO_YEAR = -292277022399
_UNIX_TO_ABSOLUTE = 9_223_371_966_579_724_800 + 62_135_596_800  # seconds from the zero year to 1970
_DAY, _400_YEARS, _100_YEARS, _4_YEARS = 86_400, 146_097, 36_524, 1461
_DAYS_BEFORE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int64)
_DAYS_IN = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def _absolute(seconds: Float64) -> _Whole:
    whole = seconds.astype(np.int64)  # cut towards zero, and NaN to the least, as in Go
    return whole.view(np.uint64) + np.uint64(_UNIX_TO_ABSOLUTE)


def _calendar(seconds: Float64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The year, and the day in it from 0 on."""
    days = (_absolute(seconds) // np.uint64(_DAY)).astype(np.int64)
    n400, days = np.divmod(days, _400_YEARS)
    n100 = np.minimum(days // _100_YEARS, 3)
    days -= n100 * _100_YEARS
    n4, days = np.divmod(days, _4_YEARS)
    n1 = np.minimum(days // 365, 3)
    year = n400 * 400 + n100 * 100 + n4 * 4 + n1 + _ZERO_YEAR
    return year, days - n1 * 365


def _leap(year: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    leap: npt.NDArray[np.bool_] = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return leap


def _month(seconds: Float64) -> tuple[npt.NDArray[np.int64], ...]:
    """The year, the month from 0 on, and the day of the month from 1 on."""
    year, day = _calendar(seconds)
    leap = _leap(year)
    leap_day = leap & (day == 59)
    plain = day - (leap & (day > 59))
    month = np.searchsorted(_DAYS_BEFORE, plain, side="right") - 1
    month = np.where(leap_day, 1, month)
    return year, month, np.where(leap_day, 29, plain - _DAYS_BEFORE[month] + 1)


def _days_in_month(seconds: Float64) -> npt.NDArray[np.int64]:
    year, month, _ = _month(seconds)
    days: npt.NDArray[np.int64] = _DAYS_IN[month] + (_leap(year) & (month == 1))
    return days


def _of_day(unit: int, most: int) -> Callable[[Float64], _Whole]:
    return lambda seconds: _absolute(seconds) // np.uint64(unit) % np.uint64(most)


DATES: dict[str, Callable[[Float64], npt.NDArray[np.generic]]] = {
    "minute": _of_day(60, 60),
    "hour": _of_day(3600, 24),
    # The zero year begins on a Monday.
    "day_of_week": lambda seconds: (
        (_absolute(seconds) // np.uint64(_DAY) + np.uint64(1)) % np.uint64(7)
    ),
    "day_of_month": lambda seconds: _month(seconds)[2],
    "day_of_year": lambda seconds: _calendar(seconds)[1] + 1,
    "days_in_month": _days_in_month,
    "month": lambda seconds: _month(seconds)[1] + 1,
    "year": lambda seconds: _calendar(seconds)[0],
}
"""Each takes Unix seconds."""
