"""Times as people's exports have them, to Unix microseconds.

RFC 3339 and its relatives (a blank for the T, slashes, a comma before the fraction, no zone: UTC),
Go's ``2026-11-01 00:00:06 +0000 UTC``, and Unix time in seconds, milli-, micro- or nanoseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from gputel.model.columns import NEWEST_US, OLDEST_US

OUTSIDE = "is not within the years 2000 to 2099"

_TIME = re.compile(
    r"([0-9]{4})(?P<dash>[-/])([0-9]{2})(?P=dash)([0-9]{2})"
    r"(?:[Tt ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9})[0-9]*+)?)?)?"
    r"(?: ?(?:([Zz]|UTC|GMT)|([+-])([0-9]{2})(?::?([0-9]{2}))?(?: (?:[A-Z]{1,5}|[+-][0-9]{2,4}))?"
    r"(?: m=[+-][0-9.]++)?))?)?"
)
_UNIX = re.compile(r"\+?[0-9]++(?:\.[0-9]*+)?(?:[eE]\+?[0-9]{1,2})?")
_UNITS = (1_000_000, 1000, 1, Decimal("0.001"))  # microseconds of a second, and so on
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US


def unix_us(text: str) -> int:
    """The microseconds since 1970 UTC, rounded down; raises ValueError, which says what is wrong.

    The unit of a number is the one by which it lies in the years 2000 to 2099: no two do. A leap
    second is the first instant of the next minute.
    """
    bare = text.strip(" \t")
    if _UNIX.fullmatch(bare):
        return number_us(Decimal(bare))
    match = _TIME.fullmatch(bare)
    try:
        if match:
            return _moment_us(match)
    except ValueError:  # such as 30 February
        pass
    raise ValueError(f"is not like 2025-07-18T20:42:34Z: {short(text)}")


def number_us(number: Decimal) -> int:
    """As ``unix_us``, of a number."""
    for unit in _UNITS:
        us = number * unit
        if OLDEST_US <= us <= NEWEST_US:
            return int(us)
    raise ValueError(OUTSIDE)


def short(text: str) -> str:
    """The start of a text in quotes, for a message."""
    shown = repr(text[:40]).encode("utf-8", "backslashreplace").decode()
    return shown + ("…" if len(text) > 40 else "")


def _moment_us(match: re.Match[str]) -> int:
    year, month, day = (int(part) for part in match.group(1, 3, 4))
    hour, minute, second = (int(part or 0) for part in match.group(5, 6, 7))
    leap = second == 60
    moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=_zone(match))
    since = (moment - _EPOCH) // _MICROSECOND
    if leap and (since + _SECOND_US) % _DAY_US:
        raise ValueError
    fraction_us = int((match[8] or "").ljust(6, "0")[:6])
    return since + _SECOND_US * leap + fraction_us


def _zone(match: re.Match[str]) -> timezone:
    sign, hours, minutes = match[10], int(match[11] or 0), int(match[12] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)
