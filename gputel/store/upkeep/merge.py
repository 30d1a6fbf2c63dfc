"""Merges frames, and small blocks of a series, into large blocks, a batch in one transaction.

Of a series and instant one sample is left, by the rule of ``blocks.samples.once``. Samples of
different streams stay in blocks of their own, so that they can be deleted by stream.

Readers see a batch as it was before its commit or as it is after it. A merge that is cut off
changes nothing. Writers only add blocks and frames, so writers and a merge never wait for each
other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import asyncpg
import numpy as np

from gputel.store.blocks.blocks import MOST_SAMPLES, Int64
from gputel.store.blocks.copy_format import COLUMNS, payload_by_stream
from gputel.store.blocks.copy_in import copy_in
from gputel.store.blocks.frames import decode_frames
from gputel.store.blocks.samples import (
    INTEGER,
    Samples,
    counting,
    decode_rows,
    elements,
    streams_of,
)
from gputel.store.days import day_span
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.upkeep.batches import BY_INDEX, batches

_SQL = load("maintenance")
_ENSURE_DAY = load("writer")["ensure_day"]
_Blocks = tuple[int, int, list[memoryview]]  # how many samples and blocks, and the rows of these


@dataclass(frozen=True)
class Tier:
    """Blocks that are merged with each other: ``low`` to ``high`` - 1 samples each."""

    low: int
    high: int
    least: int
    """The fewest blocks of one series that are merged."""


GROWING = (Tier(1, 100, least=100), Tier(100, 10_000, least=100))
"""Tiers for a day that still grows: a sample is rewritten at most once for each tier."""
FINAL = Tier(1, MOST_SAMPLES, least=2)
"""The tier for a day that is over: one block a series, if it is not too long."""
_ALL = Tier(1, MOST_SAMPLES + 1, least=1)


class _NothingToMerge(Exception):
    """A merge would leave the blocks as they are, since streams overlap: roll it back."""


@dataclass(frozen=True)
class Merged:
    """The number of blocks and frames before, of blocks after, and the samples in those after."""

    blocks_before: int = 0
    blocks_after: int = 0
    samples: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            self.blocks_before + other.blocks_before,
            self.blocks_after + other.blocks_after,
            self.samples + other.samples,
        )


async def merge_day(connection: asyncpg.Connection, day: date, tier: Tier) -> Merged:
    """Merge blocks of one UTC day, in batches of series with a commit each.

    After FINAL, no blocks of a series and stream overlap in time, however long they are. Memory is
    bounded by the batch, or by the samples of one series and day if there are more. Raises
    StoreUnavailable or StoreError; what was committed before stays merged.
    """
    total = await merge_frames(connection, day, 1) if tier is FINAL else Merged()
    span, limits = day_span(day), (tier.low, tier.high, tier.least)
    async for batch in batches(connection, _SQL["candidates"], *span, *limits):
        total += await _merge(connection, day, tier, batch)
    if tier is FINAL:
        async for batch in batches(connection, _SQL["overlapping"], *span):
            total += await _merge(connection, day, _ALL, batch)
    return total


async def merge_frames(
    connection: asyncpg.Connection,
    day: date,
    least: int,
    series_ids: Sequence[int] | None = None,
) -> Merged:
    """Make blocks of the frames of one UTC day, in batches of lists with a commit each.

    Only of lists with at least ``least`` samples of each series, and with one of ``series_ids`` if
    these are given. Raises StoreUnavailable or StoreError; what was committed before stays merged.
    """
    total, span = Merged(), day_span(day)
    async with store_errors():  # frames need no partition, but the blocks do
        await connection.execute(_ENSURE_DAY, day)
    async for batch in batches(connection, _SQL["lists"], *span, least, series_ids):
        async with store_errors(), connection.transaction():
            rows = await connection.fetch(_SQL["take_frames"], *span, batch)
            members = await connection.fetch(_SQL["members"], batch)
            samples, blocks, payload = await asyncio.to_thread(_of_frames, rows, members)
            await copy_in(connection, "sample_block", COLUMNS, payload)
            total += Merged(len(rows), blocks, samples)
    return total


async def _merge(
    connection: asyncpg.Connection, day: date, tier: Tier, series_ids: list[int]
) -> Merged:
    with suppress(_NothingToMerge):
        async with store_errors(), connection.transaction():
            await connection.execute(BY_INDEX)
            limits = *day_span(day), tier.low, tier.high
            rows = await connection.fetch(_SQL["take"], *limits, series_ids)
            samples, blocks, payload = await asyncio.to_thread(_of_blocks, rows)
            if (len(rows), sum(row["samples"] for row in rows)) == (blocks, samples):
                raise _NothingToMerge
            await copy_in(connection, "sample_block", COLUMNS, payload)
            return Merged(len(rows), blocks, samples)
    return Merged()


def _of_frames(rows: Sequence[asyncpg.Record], members: Sequence[asyncpg.Record]) -> _Blocks:
    lists = {row["list_id"]: elements([row["series_ids"]], INTEGER) for row in members}
    samples = decode_frames(rows, lists)
    return _merged(samples, np.zeros(len(samples), np.int64))


def _of_blocks(rows: Sequence[asyncpg.Record]) -> _Blocks:
    return _merged(decode_rows(rows), streams_of(rows))


def _merged(samples: Samples, stream: Int64) -> _Blocks:
    order = np.lexsort((samples.ts, samples.series_id))
    samples, stream = samples.take(order), stream[order]
    counted = counting(samples)
    samples, stream = samples.take(counted), stream[counted]
    return len(samples), *payload_by_stream(samples, stream)
