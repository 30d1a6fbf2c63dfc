"""What one query may read."""

from __future__ import annotations

from dataclasses import dataclass

from gputel.config.settings import ApiSettings
from gputel.errors import QueryTooLarge
from gputel.model.names import FILTER_COLUMNS

NARROWER = "narrow it by " + ", ".join(column.parameter for column in FILTER_COLUMNS)
"""What to do about a query that is too large."""

_ANY_BYTES = 2**62


@dataclass(frozen=True)
class Limits:
    """Most series that a query selects, and samples (or buckets of rollups) that it reads.

    ``max_bytes`` bounds the labels that it reads, and an answer that is made in memory.
    """

    max_series: int
    max_samples: int
    max_bytes: int = _ANY_BYTES

    @property
    def ask(self) -> int:
        """How many series to fetch to find out whether there are too many."""
        return self.max_series + 1

    def check_series(self, count: int) -> None:
        """Raise QueryTooLarge if a query selects too many series."""
        if count > self.max_series:
            raise QueryTooLarge(
                f"the query selects more than {self.max_series} series, the limit "
                f"(--query-max-series): {NARROWER}"
            )

    def check_bytes(self, size: int) -> None:
        """Raise QueryTooLarge if the labels of a query have too many bytes."""
        if size > self.max_bytes:
            raise QueryTooLarge(
                f"the labels that the query selects have more than {self.max_bytes} bytes, the "
                f"limit (--query-max-bytes): {NARROWER}"
            )

    def check_samples(self, cost: int) -> None:
        """Raise QueryTooLarge if a query would read too many samples."""
        if cost > self.max_samples:
            raise QueryTooLarge(
                f"the query would read about {cost} samples, over the limit of {self.max_samples} "
                "(--query-max-samples): take a shorter time, or a step of whole hours, or "
                f"{NARROWER}"
            )


def limits_of(settings: ApiSettings) -> Limits:
    """The limits in the settings."""
    return Limits(settings.query_max_series, settings.query_max_samples, settings.query_max_bytes)


ANY = Limits(2**31 - 2, 2**62)
"""Practically no limits."""
