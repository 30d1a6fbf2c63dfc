"""``--since`` and ``--until``: a duration before now, or a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from gputel.api.shared import times

_DURATION = re.compile(r"(?:now-)?(\d{1,6})(s|m|h|d|w)", re.ASCII)
_PARTS = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType[str]):
    """Accepts ``15m``, ``now-1h``, ``7d`` or RFC 3339, whose time and zone may be left out: UTC.

    Gives RFC 3339. A date alone is its first instant, or its last one for the end of a range.
    """

    name = "TIME"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The moment as text for the API."""
        duration = _DURATION.fullmatch(value)
        try:
            if value == "now":
                value, duration = "0s", _DURATION.fullmatch("0s")
            if duration is None:
                return self._whole(value)
            ago = timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            return (datetime.now(UTC) - ago).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a duration like 15m, 1h or 7d "
                f"nor an RFC 3339 time like {times.EXAMPLE}, 2025-07-18T20:42 or 2025-07-18 (UTC)",
                param,
                ctx,
            )

    def _whole(self, value: str) -> str:
        """A moment with all its parts; raises ValueError."""
        match = _PARTS.fullmatch(value)
        if match is None:
            times.parse(value)
            return value
        date, clock, seconds = match.groups()
        if clock is None:
            clock, seconds = ("23:59", ":59.999999") if self._end else ("00:00", ":00")
        whole = f"{date}T{clock}{seconds or ':00'}Z"
        times.parse(whole)
        return whole
