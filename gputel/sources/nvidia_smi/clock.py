"""The hour that local time repeats: nvidia-smi writes local times without their zone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_TIME = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+", re.ASCII)
_JITTER = timedelta(minutes=1)  # of several writers, or of a clock that is corrected
_MOST = timedelta(hours=2)  # that a change of local time takes back
_AMBIGUOUS = (
    "the time went back from {:%H:%M:%S} to {:%H:%M:%S}, as local time does when summer time ends: "
    "which of two hours a line is of cannot be told; let nvidia-smi run with TZ=UTC"
)


class LocalClock:
    """Notices that times went back. Lines below are ambiguous until the newest hour is over."""

    def __init__(self, time_place: int) -> None:
        """``time_place`` is the position of the time in a line."""
        self._place = time_place
        self._newest = datetime.min
        self._problem: str | None = None

    def problem_of(self, line: bytes) -> str | None:
        """Why the time of the next line is ambiguous, or None.

        Only times in nvidia-smi's form can be. A line without one is like the line before it.
        """
        time = self._time(line)
        if time is None:
            return self._problem
        back = self._newest - time
        hour = time.replace(minute=0, second=0, microsecond=0)
        if self._problem and back <= _MOST and hour <= self._newest:
            return self._problem
        if _JITTER < back <= _MOST:
            self._problem = _AMBIGUOUS.format(self._newest, time)
        elif not timedelta() <= back <= _MOST:  # a greater step is a clock that was wrong
            self._newest, self._problem = time, None
        return self._problem

    def _time(self, line: bytes) -> datetime | None:
        cells = line.decode("utf-8", "replace").split(",", self._place + 1)
        text = cells[self._place].strip(' \t\r\n"') if len(cells) > self._place else ""
        try:
            return datetime.fromisoformat(text.replace("/", "-")) if _TIME.fullmatch(text) else None
        except ValueError:  # such as 30 February
            return None
