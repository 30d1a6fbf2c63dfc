"""``--since`` and ``--until``: a span before now, or a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

from gputel import times

_SPAN = re.compile(f"(?:now-)?({times.SPAN})")
_PARTS = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?", re.ASCII)


class TimeType(click.ParamType[str]):
    """Takes ``15m``, ``now-1h``, ``7d``, or RFC 3339 with or without its time and its zone (UTC).

    Gives RFC 3339. A date alone is its first instant, or its last one for the end of a range.
    """

    name = "TIME"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The moment as text for the API."""
        span = _SPAN.fullmatch("0s" if value == "now" else value)
        try:
            if span is None:
                return self._completed(value)
            return times.rfc3339(datetime.now(UTC) - times.Duration.parse(span[1]))
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a duration like 15m, 1h or 7d "
                f"nor an RFC 3339 time like {times.EXAMPLE}, 2025-07-18T20:42 or 2025-07-18 (UTC)",
                param,
                ctx,
            )

    def _completed(self, value: str) -> str:
        """The moment with the parts that were left out; raises ValueError if it is none."""
        match = _PARTS.fullmatch(value)
        if match is None:
            times.parse(value)
            return value
        date, clock, seconds = match.groups()
        if clock is None:
            clock, seconds = ("23:59", ":59.999999") if self._end else ("00:00", ":00")
        text = f"{date}T{clock}{seconds or ':00'}Z"
        times.parse(text)
        return text
