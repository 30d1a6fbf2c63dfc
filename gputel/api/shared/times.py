"""Moments in a query: RFC 3339 text, exactly, whatever the number of digits, or relative to now.

Format: https://www.rfc-editor.org/rfc/rfc3339#section-5.6
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gputel.config.values import Duration

EXAMPLE = "2025-07-18T20:42:34Z"
RELATIVE = "^now(-[0-9]{1,8}[dhms])?$"
"""What a moment relative to the present looks like."""

# A "+" that was not escaped in a query arrives as a space: "20:42:34 02:00".
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+ -])(\d\d):(\d\d))",
    re.ASCII,
)
_RELATIVE = re.compile(RELATIVE, re.ASCII)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097  # after which the Gregorian calendar repeats itself


def moment(text: str, *, round_up: bool = False) -> datetime:
    """``now``, ``now-30m`` and the like (s, m, h, d), or what ``parse`` takes.

    Raises ValueError saying what is wrong and how a right one looks.
    """
    if not _RELATIVE.fullmatch(text):
        try:
            return parse(text, round_up=round_up)
        except ValueError as error:
            raise ValueError(f"{error} or now-1h") from None
    ago = Duration.parse(text.removeprefix("now-")) if text != "now" else timedelta(0)
    return _add(datetime.now(UTC), -ago)


def parse(text: str, *, round_up: bool = False) -> datetime:
    """The moment in UTC. Digits beyond the microsecond round down, or up for a range's start.

    Moments outside Python's calendar (year 0, offsets at its ends) become its first or last one.
    Raises ValueError saying what is wrong and how a right one looks.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time; write it like {EXAMPLE}")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    leap = second == 60  # a leap second is the first instant of the next minute
    cycle = year == 0
    try:
        moment = datetime(
            year + cycle * _CYCLE_YEARS, month, day, hour, minute, second - leap, tzinfo=UTC
        )
        shift = _offset(match) - timedelta(days=cycle * _CYCLE_DAYS, seconds=-int(leap))
    except ValueError as error:
        raise ValueError(f"{text!r} is no real time: {error}; write it like {EXAMPLE}") from None
    return _add(moment, shift + _fraction(match[7] or "", round_up))


def _offset(match: re.Match[str]) -> timedelta:
    """What to add to local time for UTC."""
    if match[8] is None:
        return timedelta(0)
    hours, minutes = int(match[9]), int(match[10])
    if hours > 23 or minutes > 59:
        raise ValueError("its offset must be within 23:59")
    sign = 1 if match[8] == "-" else -1
    return sign * timedelta(hours=hours, minutes=minutes)


def _fraction(digits: str, round_up: bool) -> timedelta:
    micros = int(digits[:6].ljust(6, "0"))
    return timedelta(microseconds=micros + (round_up and digits[6:].strip("0") != ""))


def _add(moment: datetime, shift: timedelta) -> datetime:
    try:
        return moment + shift
    except OverflowError:
        return _LATEST if shift > timedelta(0) else _EARLIEST
