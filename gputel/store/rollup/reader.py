"""Buckets of a range of time: from rollups where they are valid, else from samples.

If rollups, marks of stale hours and samples are read in one snapshot, the result is the same as
from samples alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from gputel.store import queries
from gputel.store.blocks.samples import Samples, micros
from gputel.store.read.reader import Connection
from gputel.store.read.series_reader import moment, samples_of
from gputel.store.rollup.buckets import (
    HOUR_US,
    MINUTE_US,
    Aggregate,
    Buckets,
    fold,
    from_samples,
    join,
    units,
)
from gputel.store.rollup.plan import Span, SpanSource, cover, plan
from gputel.store.rollup.rows import decode_rollups, rows_of
from gputel.threads import READING

_SQL = queries.load("rollup")


@dataclass(frozen=True)
class StepQuery:
    """How samples become buckets: one a step, beginning at multiples of it since 1970-01-01 UTC.

    With ``group_by``, all series of a metric with the same values of these columns share their
    buckets; with None, each series has its own. With ``fill``, a step without samples between
    others becomes NaN.
    """

    step_us: int
    aggregate: Aggregate = Aggregate.AVG
    use_rollups: bool = True
    group_by: tuple[str, ...] | None = None
    fill: bool = False


async def sources(
    connection: Connection, steps: StepQuery, start_us: int, end_us: int
) -> list[Span]:
    """What the buckets from ``start_us`` to before ``end_us`` are read from."""
    if not steps.use_rollups or steps.step_us % MINUTE_US or steps.aggregate.is_of_samples:
        return cover(start_us, end_us, 1, ())
    first = moment(start_us // HOUR_US * HOUR_US)
    stale = await connection.fetch(_SQL["stale"], first, moment(end_us))
    return cover(start_us, end_us, steps.step_us, [micros(row["hour"]) for row in stale])


async def buckets_of(
    connection: Connection, series_ids: Sequence[int], spans: Sequence[Span], step_us: int
) -> Buckets:
    """The buckets of the series, read from these spans."""
    pieces = []
    for span in spans:
        if span.source is not SpanSource.SAMPLES:
            rows = await connection.fetch(_SQL["rows"], list(series_ids), *rows_of(span))
            pieces.append(await READING.run(_from_rollups, rows, span))
            continue
        for day in plan(span.start_us, span.end_us, 1, ()):
            samples = await samples_of(
                connection, series_ids, day.start_us, day.end_us - 1, lambda _count: None
            )
            pieces.append(await READING.run(_from_samples, samples, units(step_us)[0]))
    return await READING.run(_folded, pieces, step_us)


def buckets_from(samples: Samples, step_us: int) -> Buckets:
    """The buckets of samples, which are in order of series and time."""
    return _folded([_from_samples(samples, units(step_us)[0])], step_us)


def _from_samples(samples: Samples, unit_us: int) -> Buckets:
    return fold(from_samples(samples), unit_us)


def _from_rollups(rows: Sequence[asyncpg.Record], span: Span) -> Buckets:
    buckets = decode_rollups(rows)
    return buckets.take((buckets.start_us >= span.start_us) & (buckets.start_us < span.end_us))


def _folded(pieces: Sequence[Buckets], step_us: int) -> Buckets:
    buckets = join(pieces)
    for unit_us in units(step_us):
        buckets = fold(buckets, unit_us)
    return buckets
