"""Buckets of a range of time: from rollups where they are right, else from samples.

Within one snapshot, of rollups and marks of stale hours as well, they are those of the samples.
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
from gputel.store.rollup.plan import Source, Span, cover, plan
from gputel.store.rollup.rows import decode_rollups, rows_of
from gputel.threads import READING

_SQL = queries.load("rollup")


@dataclass(frozen=True)
class Steps:
    """What is asked: one bucket a step, which begin at multiples of it since 1970-01-01 UTC.

    ``group_by`` makes one bucket of all series of a metric that have the same values of these
    columns of ``series``; None leaves each series by itself. ``fill`` shows steps without samples
    between others as NaN.
    """

    step_us: int
    aggregate: Aggregate = Aggregate.AVG
    use_rollups: bool = True
    group_by: tuple[str, ...] | None = None
    fill: bool = False


async def sources(connection: Connection, steps: Steps, start_us: int, end_us: int) -> list[Span]:
    """Where the buckets from ``start_us`` to before ``end_us`` come from, long spans as one."""
    if not steps.use_rollups or steps.step_us % MINUTE_US or steps.aggregate.is_of_samples:
        return cover(start_us, end_us, 1, ())
    first = moment(start_us // HOUR_US * HOUR_US)
    stale = await connection.fetch(_SQL["stale"], first, moment(end_us))
    return cover(start_us, end_us, steps.step_us, [micros(row["hour"]) for row in stale])


async def buckets_of(
    connection: Connection, series_ids: Sequence[int], spans: Sequence[Span], step_us: int
) -> Buckets:
    """The buckets of series, from these sources."""
    found = []
    for span in spans:
        if span.source is not Source.SAMPLES:
            rows = await connection.fetch(_SQL["rows"], list(series_ids), *rows_of(span))
            found.append(await READING.run(_from_rollups, rows, span))
            continue
        for day in plan(span.start_us, span.end_us, 1, ()):
            samples = await samples_of(
                connection, series_ids, day.start_us, day.end_us - 1, lambda _count: None
            )
            found.append(await READING.run(_from_samples, samples, units(step_us)[0]))
    return await READING.run(_folded, found, step_us)


def _from_samples(samples: Samples, unit_us: int) -> Buckets:
    return fold(from_samples(samples), unit_us)


def _from_rollups(rows: Sequence[asyncpg.Record], span: Span) -> Buckets:
    found = decode_rollups(rows)
    return found.take((found.start_us >= span.start_us) & (found.start_us < span.end_us))


def _folded(found: Sequence[Buckets], step_us: int) -> Buckets:
    buckets = join(found)
    for unit_us in units(step_us):
        buckets = fold(buckets, unit_us)
    return buckets
