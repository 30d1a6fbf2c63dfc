"""The parameters of Prometheus' HTTP API, from the query and from a form, as it takes them.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from aiohttp import web
from multidict import MultiDict

from gputel import times
from gputel.api.prometheus.form import form
from gputel.errors import BadExpression
from gputel.promql.syntax.durations import parse_duration
from gputel.promql.syntax.go_text import parse_float
from gputel.promql.values.vector import Int64
from gputel.store.blocks.samples import EPOCH

MOST_STEPS = 11_000

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
EVER_US = 2**61
"""The furthest time from 1970, either way, that a request can name; Unix microseconds."""

_BOUNDARIES = {
    "-292273086-05-16T16:47:06Z": -EVER_US,
    "292277025-08-18T07:12:54.999999999Z": EVER_US,
}
"""The least and the greatest time, as Prometheus' clients write them."""

_MOST_S = EVER_US / 1e6
_MOST_SPAN_S = 2**63 / 1e9


class Parameters:
    """What a request says, each by its name; of one that is given twice the first counts."""

    def __init__(self, given: MultiDict[str]) -> None:
        self._given = given

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self._given.get(name, "")
        if not value:
            raise BadExpression(f'invalid parameter "{name}": it is missing')
        return value

    def texts(self, name: str) -> list[str]:
        """All texts of this name."""
        return list(self._given.getall(name, []))

    def whole(self, name: str) -> int | None:
        """A whole number; None if it is missing or blank."""
        value = self._given.get(name, "")
        if not value:
            return None
        if not _WHOLE.fullmatch(value):
            raise BadExpression(f"{name} must be a number")
        return int(value)

    def moment(self, name: str, default: int | None = None) -> int:
        """Unix microseconds of a time in Unix seconds or RFC 3339.

        A time that is missing or blank is the default, if there is one.
        """
        value = self._given.get(name, "")
        if not value and default is not None:
            return default
        found = _moment(value)
        if found is None:
            raise BadExpression(
                f'invalid parameter "{name}": cannot parse {value!r} to a valid timestamp; '
                f"write Unix seconds, or a time like {times.EXAMPLE}"
            )
        return found

    def span(self, name: str) -> int | None:
        """Microseconds of a span in seconds or as Prometheus writes it; None if it is blank."""
        value = self._given.get(name, "")
        if not value:
            return None
        seconds = _span(value)
        if seconds is None:
            raise BadExpression(
                f'invalid parameter "{name}": cannot parse {value!r} to a valid duration; '
                "write seconds, or a span like 30s or 5m"
            )
        # Prometheus' own steps are whole milliseconds.
        return math.floor(seconds * 1000 + 1e-6) * 1000


async def parameters(request: web.Request) -> Parameters:
    """Those of the form, if there is one, then those of the query.

    Raises BadExpression for a form that cannot be read, TooSlow for one that does not come.
    """
    given = await form(request)
    given.extend(request.query)
    return Parameters(given)


@dataclass(frozen=True)
class Steps:
    """The times of a range query, Unix microseconds: the last step may lie before the end."""

    start_us: int
    end_us: int
    step_us: int

    @property
    def moments(self) -> Int64:
        """Every step."""
        return np.arange(self.start_us, self.end_us + 1, self.step_us, dtype=np.int64)


def steps(given: Parameters) -> Steps:
    """The steps that a range query asks for."""
    start, end, step = given.moment("start"), given.moment("end"), given.span("step")
    if end < start:
        raise BadExpression('invalid parameter "end": end timestamp must not be before start time')
    if step is None or step <= 0:
        raise BadExpression(
            'invalid parameter "step": zero or negative query resolution step widths are not '
            "accepted. Try a positive integer"
        )
    if (end - start) // step > MOST_STEPS:
        raise BadExpression(
            f"exceeded maximum resolution of {MOST_STEPS:,} points per timeseries. Try decreasing "
            "the query resolution (?step=XX)"
        )
    return Steps(start, end, step)


def now_us() -> int:
    """The present time, Unix microseconds."""
    return time.time_ns() // 1000


def _moment(text: str) -> int | None:
    if text in _BOUNDARIES:
        return _BOUNDARIES[text]
    seconds = _seconds(text)
    if seconds is not None:
        milliseconds = round(min(max(seconds, -_MOST_S), _MOST_S) * 1000)
        return min(max(milliseconds * 1000, -EVER_US), EVER_US)
    try:
        return (times.parse(text) - EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


def _span(text: str) -> float | None:
    seconds = _seconds(text)
    if seconds is not None:
        return seconds if abs(seconds) <= _MOST_SPAN_S else None
    try:
        return parse_duration(text) / 1e6
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    """A finite number; None if the text is something else."""
    try:
        seconds = parse_float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
