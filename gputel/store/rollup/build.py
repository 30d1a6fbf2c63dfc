"""Makes rollups of the hours that were written to, a day of them in one transaction.

The transaction that makes the rollups of some hours also deletes the marks of these hours, as far
as its snapshot sees them. If a commit is not in the snapshot, its samples are not in the rollups,
and its mark stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta

import asyncpg
import numpy as np

from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.copy_in import copy_in
from gputel.store.blocks.samples import decode_rows, micros, ordered
from gputel.store.days import day_span
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.rollup.buckets import HOUR_US, MINUTE_US, Buckets, fold, from_samples, join
from gputel.store.rollup.rows import ROW_COLUMNS, decode_rollups, rollup_payload

_SETTLE = timedelta(minutes=2)
_HOUR = timedelta(hours=1)
_BATCH_SAMPLES = 250_000  # some 25 MB in this process
_FIRST_FETCH_BLOCKS = 64
_MOST_FETCH_BLOCKS = 8192

_SQL = load("rollup")
_Payload = list[memoryview]


async def roll_up(connection: asyncpg.Connection, *, everything: bool = False) -> int:
    """Make the rollups of all hours that have settled, or of all hours; return their number.

    Raises StoreUnavailable or StoreError; the days done before stay done. One process at a time.
    """
    async with store_errors():
        await connection.execute(_SQL["compact"])
        days = await connection.fetch(_SQL["settled"], timedelta() if everything else _SETTLE)
    for day, hours in days:
        await roll_up_day(connection, day, hours)
    return sum(len(hours) for _, hours in days)


async def roll_up_day(connection: asyncpg.Connection, day: date, hours: Sequence[datetime]) -> None:
    """Make the rollups of some hours of one UTC day anew; memory is bounded by a batch of series.

    If the samples of the day are no longer kept, its rollups stay as they are.
    """
    span = day_span(day)
    async with store_errors():
        if await connection.fetchval(_SQL["has_samples"], day):
            await connection.execute(_SQL["ensure_day"], day)
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute(_SQL["unmark"], hours)
            if not await connection.fetchval(_SQL["has_samples"], day):
                return
            await connection.execute(_SQL["clear_minutes"], hours, *span)
            hour_starts_us = np.array([micros(hour) for hour in hours], np.int64)
            blocks = (min(hours), span[1], max(hours) + _HOUR)
            async for rows in _batches(connection, blocks):
                fresh = await asyncio.to_thread(minutes_of, rows, hour_starts_us)
                if len(fresh):
                    ids = np.unique(fresh.series_id).tolist()
                    old = await connection.fetch(_SQL["take_hours"], ids, span[0])
                    for payload in await asyncio.to_thread(payloads, fresh, old, hour_starts_us):
                        await copy_in(connection, "rollup", ROW_COLUMNS, payload)


async def _batches(
    connection: asyncpg.Connection, span: tuple[datetime, datetime, datetime]
) -> AsyncIterator[list[asyncpg.Record]]:
    """Blocks in order of series; all blocks of a series are in one batch."""
    cursor = await connection.cursor(_SQL["blocks"], *span)
    pending: list[asyncpg.Record] = []
    fetch_blocks = _FIRST_FETCH_BLOCKS
    while rows := await cursor.fetch(fetch_blocks):
        per_block = max(1, sum(len(row["value"]) for row in rows) // 12 // len(rows))
        fetch_blocks = min(_MOST_FETCH_BLOCKS, max(4, _BATCH_SAMPLES // per_block))
        unfinished = rows[-1]["series_id"]
        pending += rows
        complete = [row for row in pending if row["series_id"] != unfinished]
        if complete:
            yield complete
            pending = pending[len(complete) :]
    if pending:
        yield pending


def minutes_of(rows: Sequence[asyncpg.Record], hours: Int64) -> Buckets:
    """The minutes in these hours of the samples of blocks."""
    samples = decode_rows(rows)
    inside = np.isin(samples.ts // HOUR_US * HOUR_US, hours)
    return fold(from_samples(ordered(samples.take(inside))), MINUTE_US)


def payloads(
    minutes: Buckets, old: Sequence[asyncpg.Record], hours: Int64
) -> tuple[_Payload, _Payload]:
    """The rows of the minutes of these hours, and of all hours of their day.

    ``old`` are the hours as they were: those that are not among ``hours`` are unchanged.
    """
    kept = decode_rollups(old)
    kept = kept.take(~np.isin(kept.start_us, hours))
    day = join([kept, fold(minutes, HOUR_US)])
    return rollup_payload(minutes, MINUTE_US), rollup_payload(day, HOUR_US)
