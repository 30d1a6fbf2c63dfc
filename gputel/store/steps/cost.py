"""Estimates how much a query would read, before it reads."""

from __future__ import annotations

from collections.abc import Sequence

from gputel.store import queries
from gputel.store.blocks.blocks import DAY_US
from gputel.store.read.reader import Connection
from gputel.store.read.series_reader import moment
from gputel.store.rollup.plan import Span, SpanSource
from gputel.store.rollup.rows import ROW_US, rows_of

_SQL = queries.load("rollup")
_COUNTED_BLOCKS = 5_000_000


async def cost_of(
    connection: Connection, series_ids: Sequence[int], spans: Sequence[Span], most: int = 2**62
) -> int:
    """About how many samples and buckets would be read. Stops counting above ``most``."""
    cost = 0
    for span in spans:
        if span.source is SpanSource.SAMPLES:
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
