"""The parameters of Prometheus' HTTP API, from the query and from a form.

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
from gputel.promql.syntax.go_text import parse_float
from gputel.promql.values.vector import Int64
from gputel.store.blocks.samples import EPOCH
from gputel.times import parse_duration

MOST_STEPS = 11_000

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
EVER_US = 2**61
"""The latest time that a request can have, and, negative, the earliest; Unix microseconds."""

_BOUNDARIES = {
    "-292273086-05-16T16:47:06Z": -EVER_US,
    "292277025-08-18T07:12:54.999999999Z": EVER_US,
}
"""The earliest and the latest time, as clients of Prometheus write them."""

_MOST_S = EVER_US / 1e6
_MOST_SPAN_S = 2**63 / 1e9


class Parameters:
    """The parameters of a request by name. The first value of a repeated parameter counts."""

    def __init__(self, values: MultiDict[str]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """The text of a required parameter."""
        value = self._values.get(name, "")
        if not value:
            raise BadExpression(f'invalid parameter "{name}": it is missing')
        return value

    def texts(self, name: str) -> list[str]:
        """All texts of this name."""
        return list(self._values.getall(name, []))

    def integer(self, name: str) -> int | None:
        """An integer; None if it is missing or blank."""
        value = self._values.get(name, "")
        if not value:
            return None
        if not _WHOLE.fullmatch(value):
            raise BadExpression(f"{name} must be a number")
        return int(value)

    def moment(self, name: str, default: int | None = None) -> int:
        """Unix microseconds of a time in Unix seconds or RFC 3339.

        If the time is missing or blank, it is the default, if there is one.
        """
        value = self._values.get(name, "")
        if not value and default is not None:
            return default
        moment_us = _moment(value)
        if moment_us is None:
            raise BadExpression(
                f'invalid parameter "{name}": cannot parse {value!r} to a valid timestamp; '
                f"write Unix seconds, or a time like {times.EXAMPLE}"
            )
        return moment_us

    def span(self, name: str) -> int | None:
        """Microseconds of a span in seconds or in Prometheus' form; None if missing or blank."""
        value = self._values.get(name, "")
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
    """The parameters in the form, if there is one, and then those in the query.

    Raises BadExpression if the form cannot be read, TooSlow if it does not come in time.
    """
    values = await form(request)
    values.extend(request.query)
    return Parameters(values)


@dataclass(frozen=True)
class RangeSteps:
    """The times of a range query, Unix microseconds. The last step may be before the end."""

    start_us: int
    end_us: int
    step_us: int

    @property
    def moments(self) -> Int64:
        """The time of every step."""
        return np.arange(self.start_us, self.end_us + 1, self.step_us, dtype=np.int64)


def steps(parameters: Parameters) -> RangeSteps:
    """The steps in the parameters of a range query."""
    start, end, step = parameters.moment("start"), parameters.moment("end"), parameters.span("step")
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
    return RangeSteps(start, end, step)


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
    """A finite number; None if the text is none."""
    try:
        seconds = parse_float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
