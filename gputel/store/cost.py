"""What a query may read, and what it would, told before it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gputel.config import ApiSettings
from gputel.errors import QueryTooLarge
from gputel.store import queries
from gputel.store.blocks import DAY_US
from gputel.store.label_bytes import UNLIMITED
from gputel.store.reader import Connection
from gputel.store.rollup_plan import Source, Span
from gputel.store.rollup_rows import ROW_US, rows_of
from gputel.store.series_reader import moment

_SQL = queries.load("rollup")
_COUNTED_BLOCKS = 5_000_000


@dataclass(frozen=True)
class Limits:
    """Most series that a query selects, and samples (or buckets of rollups) that it reads.

    ``max_bytes`` is of the labels that it reads, and of an answer that is made whole.
    """

    max_series: int
    max_samples: int
    max_bytes: int = UNLIMITED

    @property
    def ask(self) -> int:
        """How many series to ask for, to see that there are too many."""
        return self.max_series + 1

    def check_series(self, count: int) -> None:
        """Raise QueryTooLarge where there are more than may be."""
        if count > self.max_series:
            raise QueryTooLarge(
                f"the query selects more than {self.max_series} series, the limit "
                "(--query-max-series): narrow it by metric, hostname, namespace, pod or uuid"
            )

    def check_samples(self, cost: int) -> None:
        """Raise QueryTooLarge where it would read more than it may."""
        if cost > self.max_samples:
            raise QueryTooLarge(
                f"the query would read about {cost} samples, over the limit of {self.max_samples} "
                "(--query-max-samples): take a shorter time, or a step of whole hours, or narrow "
                "it by metric, hostname, namespace, pod or uuid"
            )


def limits_of(settings: ApiSettings) -> Limits:
    """The limits that the settings say."""
    return Limits(settings.query_max_series, settings.query_max_samples, settings.query_max_bytes)


ANY = Limits(2**31 - 2, 2**62)
"""No limits to speak of."""


async def cost_of(
    connection: Connection, series_ids: Sequence[int], spans: Sequence[Span], most: int = 2**62
) -> int:
    """About how many samples and buckets there are to read; it ends once they are over ``most``."""
    cost = 0
    for span in spans:
        if span.source is Source.SAMPLES:
            start, end = moment(span.start_us), moment(span.end_us)
            midnight = moment(-(-span.end_us // DAY_US) * DAY_US)
            arguments = (list(series_ids), start, end, midnight, _COUNTED_BLOCKS)
            cost += await connection.fetchval(_SQL["count_samples"], *arguments)
        else:
            rows = await connection.fetchval(_SQL["count_rows"], list(series_ids), *rows_of(span))
            step_us = span.source.value
            cost += rows * (min(ROW_US[step_us], span.end_us - span.start_us) // step_us)
        if cost > most:
            break
    return cost
