"""``--since`` and ``--until``: a duration before now, or a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from gputel.api import times

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType[str]):
    """Accepts ``15m``, ``1h``, ``7d`` or RFC 3339; gives RFC 3339."""

    name = "TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The moment as text for the API."""
        duration = _DURATION.fullmatch(value)
        try:
            if duration is None:
                times.parse(value)
                return value
            ago = timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            return (datetime.now(UTC) - ago).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a duration like 15m, 1h or 7d "
                f"nor an RFC 3339 time like {times.EXAMPLE}",
                param,
                ctx,
            )
