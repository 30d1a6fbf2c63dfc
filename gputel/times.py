"""Moments and spans of time as text: every parser and the printer that gputel has for them.

A moment is RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339#section-5.6) or relative to now, as
``now-1h``. A span is ``30d``, and in what Prometheus defines, as PromQL and scrape jobs, it is
``1h30m``. The timestamps of records, which have the forms of many programs, are elsewhere:
``sources/dcgm/times.py``.
"""

from __future__ import annotations

import re
import types
from datetime import UTC, datetime, timedelta

EXAMPLE = "2025-07-18T20:42:34Z"
SPAN = "[0-9]{1,8}[wdhms]"
"""What a span looks like: a regular expression."""
RELATIVE = f"^now(-{SPAN})?$"
"""What a moment relative to now looks like: a regular expression."""

# A "+" that was not escaped in a query arrives as a space: "20:42:34 02:00".
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+ -])(\d\d):(\d\d))",
    re.ASCII,
)
_SPAN = re.compile(SPAN)
_RELATIVE = re.compile(RELATIVE, re.ASCII)
# ParseDuration and Duration.String of prometheus/common/model/time.go
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000,
             "m": 60_000, "s": 1000, "ms": 1}  # fmt: skip
_DURATION = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit in _UNITS_MS))
_MOST_MS = (2**63 - 1) // 1_000_000
_MOST_DIGITS = 20
_WHOLE_ONLY = ("y", "w")  # written only if nothing smaller is left
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097  # the Gregorian calendar repeats itself after them


class Duration(timedelta):
    """A span of time as people write it: ``2w``, ``30d``, ``12h``, ``90m``, ``45s``."""

    _UNITS = types.MappingProxyType({"d": 86_400, "h": 3_600, "m": 60, "s": 1})

    @classmethod
    def parse(cls, text: str) -> Duration:
        """The span that the text names. Raises ValueError, which shows how to write one."""
        if not _SPAN.fullmatch(text):
            raise ValueError(
                f"{text!r} is not a time span like 30d, 12h, 90m or 45s: a whole number of weeks, "
                "days, hours, minutes or seconds"
            )
        count, unit = int(text[:-1]), text[-1]
        return cls(weeks=count) if unit == "w" else cls(seconds=count * cls._UNITS[unit])

    def __str__(self) -> str:
        seconds = int(self.total_seconds())
        if not seconds:
            return "0s"
        unit = next(unit for unit, size in self._UNITS.items() if seconds % size == 0)
        return f"{seconds // self._UNITS[unit]}{unit}"

    def __format__(self, _spec: str) -> str:
        return str(self)


def moment(text: str, *, round_up: bool = False) -> datetime:
    """The moment in UTC of ``now``, ``now-30m`` (any span), or a text that ``parse`` takes.

    Raises ValueError, which says what is wrong and shows how to write one.
    """
    if not _RELATIVE.fullmatch(text):
        try:
            return parse(text, round_up=round_up)
        except ValueError as error:
            raise ValueError(f"{error} or now-1h") from None
    ago = Duration.parse(text.removeprefix("now-")) if text != "now" else timedelta(0)
    return _add(datetime.now(UTC), -ago)


def parse(text: str, *, round_up: bool = False) -> datetime:
    """The moment in UTC of an RFC 3339 text.

    Digits beyond the microsecond round down, or up if ``round_up`` (for the start of a range).
    Moments outside Python's calendar (year 0, offsets at its ends) become its first or last one.
    Raises ValueError, which says what is wrong and shows how to write one.
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


def rfc3339(moment: datetime) -> str:
    """A moment in UTC as RFC 3339 with ``Z``; microseconds only if they are not zero."""
    return moment.isoformat().replace("+00:00", "Z")


def parse_duration(text: str) -> int:
    """Microseconds of a span as Prometheus writes it: ``5m``, ``1h30m``.

    Raises ValueError with what is wrong, in its words.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f'not a valid duration string: "{text[:100]}"')
    if any(len(part or "") > _MOST_DIGITS for part in match.groups()):
        raise ValueError("duration out of range")
    pairs = zip(match.groups(), _UNITS_MS.values(), strict=True)
    total = sum(int(part) * unit for part, unit in pairs if part)
    if total > _MOST_MS:
        raise ValueError("duration out of range")
    return total * 1000


def format_duration(microseconds: int) -> str:
    """The span as Prometheus writes it."""
    rest = microseconds // 1000
    if not rest:
        return "0s"
    text = ""
    for unit, size in _UNITS_MS.items():
        if unit in _WHOLE_ONLY and rest % size:
            continue
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text


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
