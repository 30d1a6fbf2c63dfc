"""The parameters of Prometheus' HTTP API, from the query and from a form, as it takes them.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from aiohttp import web
from multidict import MultiDict

from gputel.api import times
from gputel.errors import BadExpression, TooSlow
from gputel.promql.vector import Int64
from gputel.store.samples import EPOCH

MOST_STEPS = 11_000
FORM = "application/x-www-form-urlencoded"

_FORM_S = 15.0
_UNITS = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_SPAN = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_MOST_DIGITS = 9
_FURTHEST_S = 253_402_300_799  # the end of the year 9999


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

    def moment(self, name: str, default: int | None = None) -> int:
        """Unix microseconds of a time in Unix seconds or RFC 3339."""
        value = self._given.get(name)
        if value is None and default is not None:
            return default
        found = _moment(value or "")
        if found is None:
            raise BadExpression(
                f'invalid parameter "{name}": cannot parse {value or ""!r} to a valid timestamp; '
                f"write Unix seconds, or a time like {times.EXAMPLE}"
            )
        return found

    def span(self, name: str) -> int | None:
        """Microseconds of a span in seconds or as Prometheus writes it; None if it is missing."""
        value = self._given.get(name)
        if value is None:
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

    Raises BadExpression for a form that is compressed, or no text, TooSlow for one that does not
    come.
    """
    given: MultiDict[str] = MultiDict()
    if request.method == "POST" and request.content_type == FORM:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadExpression("Content-Encoding: a form is read as it is; send it uncompressed")
        form = await _form(request)
        given.extend((name, value) for name, value in form.items() if isinstance(value, str))
    given.extend(request.query)
    return Parameters(given)


async def _form(request: web.Request) -> Mapping[str, Any]:
    try:
        async with asyncio.timeout(_FORM_S):
            return await request.post()
    except TimeoutError:
        raise TooSlow(f"the form did not come within {_FORM_S:g} s: send it faster") from None
    except (LookupError, ValueError):  # a charset that nobody knows, bytes that are not of it
        raise BadExpression(
            "the form is no text in UTF-8, or in the charset that it names"
        ) from None


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
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        return round(seconds * 1000) * 1000 if abs(seconds) <= _FURTHEST_S else None
    try:
        return (times.parse(text) - EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


def _span(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        return seconds if abs(seconds) <= _FURTHEST_S else None
    match = _SPAN.fullmatch(text)
    if match is None or not text or any(len(part or "") > _MOST_DIGITS for part in match.groups()):
        return None
    pairs = zip(match.groups(), _UNITS.values(), strict=True)
    total = sum(int(part) * unit for part, unit in pairs if part)
    return total if total <= _FURTHEST_S else None
