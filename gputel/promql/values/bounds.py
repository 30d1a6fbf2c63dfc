"""What one evaluation may hold, and whether its answer is still wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gputel.errors import ExpressionFailed

Check = Callable[[], None]
UNLIMITED = 2**62


@dataclass
class EvaluationBounds:
    """The limits of one evaluation.

    ``check`` is called every few milliseconds and may raise to end the work. ``max_points`` is the
    most points (series times steps) that the evaluation holds at once, ``max_series`` the most
    series of one vector.
    """

    check: Check
    max_points: int = UNLIMITED
    max_series: int = UNLIMITED
    _held: int = field(default=0, init=False)

    def admit(self, series: int, steps: int) -> None:
        """Raise ExpressionFailed if a vector of this size is too much, before it takes memory."""
        if series > self.max_series:
            raise ExpressionFailed(
                f"the query makes {series} series, over the limit of {self.max_series} "
                "(--query-max-series): narrow it by more matchers"
            )
        points = self._held + series * steps
        if points > self.max_points:
            raise ExpressionFailed(
                f"the query evaluates {points} points, series times steps, over the limit "
                f"of {self.max_points} (--query-max-samples): take longer steps, or "
                "narrow it by more matchers"
            )

    @contextmanager
    def holding(self, value: Any) -> Iterator[None]:
        """Count the points of a value that waits while another one is evaluated."""
        points = value.points
        self._held += points
        try:
            yield
        finally:
            self._held -= points
