"""Samples that the store has already: they are counted, and not stored again.

This is looked for before a commit, and only where it may be: in series of GPUs that have samples in
the time of the commit. Two commits of one sample at the same moment do not see each other. Readers
take one of the two (``blocks.samples.once``), and a merge leaves one.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import asyncpg
import numpy as np

from gputel.store.blocks.blocks import DAY_US, Blocks, Int64
from gputel.store.blocks.samples import EMPTY, Samples, concatenate, micros
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.series_reader import sample_pieces
from gputel.store.write.sightings import Sightings

_SQL = load("writer")
_STORED = -1


async def find_stored(pool: asyncpg.Pool, blocks: Blocks, sightings: Sightings | None) -> Samples:
    """The samples in the store that have a series and an instant of these blocks.

    Raises StoreUnavailable or StoreError.
    """
    if sightings is None:
        return EMPTY
    async with store_errors():
        rows = await pool.fetch(_SQL["seen_gpus"], *sightings.columns()[:3])
        if not rows:
            return EMPTY
        suspects = await asyncio.to_thread(_suspects, blocks, sightings, rows)
        found = []
        async with (
            pool.acquire() as connection,
            # One snapshot, as frames become blocks meanwhile.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            for day in np.unique(suspects.ts // DAY_US).tolist():
                of_day = suspects.take(suspects.ts // DAY_US == day)
                ids = np.unique(of_day.series_id).tolist()
                span = int(of_day.ts.min()), int(of_day.ts.max())
                async with aclosing(sample_pieces(connection, ids, *span)) as pieces:
                    async for piece in pieces:
                        found.append(await asyncio.to_thread(_within, piece, of_day))
    return concatenate(found)


def without_repeats(rows: Samples, arrival: Int64, stored: Samples) -> tuple[Samples, Int64, Int64]:
    """The samples to store, the arrival of each, and how many rows of each arrival repeat a sample.

    ``arrival`` has the number of each row's arrival, in order. A row repeats a sample if there is
    one of its series and instant in ``stored`` or before it. It is stored if its value counts
    instead, as ``once`` says.
    """
    both = concatenate([stored, rows])
    origin = np.concatenate((np.full(len(stored), _STORED), arrival))
    order = np.lexsort((both.ts, both.series_id))
    both, origin = both.take(order), origin[order]
    again = np.zeros(len(both), np.bool_)
    again[1:] = (np.diff(both.ts) == 0) & (np.diff(both.series_id) == 0)
    repeats = np.bincount(
        origin[again & (origin != _STORED)], minlength=int(arrival.max(initial=-1)) + 1
    )
    # The last of each instant counts; of equal values that is the stored one.
    rank = (origin == _STORED, both.value, ~np.isnan(both.value), np.cumsum(~again))
    best = np.lexsort(rank)[np.append(again[1:], False) == 0]
    fresh = best[origin[best] != _STORED]
    return both.take(fresh), origin[fresh], repeats


def has_repeats(blocks: Blocks) -> bool:
    """Whether blocks have several samples of one series and instant."""
    return bool(((np.diff(blocks.ts) == 0) & (np.diff(blocks.series_id) == 0)).any())


def _suspects(blocks: Blocks, sightings: Sightings, seen: list[asyncpg.Record]) -> Samples:
    """The samples of the blocks in the time in which their GPUs were seen before."""
    first = np.full(len(sightings.uuids), np.iinfo(np.int64).max)
    last = np.full(len(sightings.uuids), np.iinfo(np.int64).min)
    for place, first_ts, last_ts in seen:
        first[place], last[place] = micros(first_ts), micros(last_ts)
    gpu = np.repeat(sightings.gpu_of_block, blocks.counts)
    within = (blocks.ts >= first[gpu]) & (blocks.ts <= last[gpu])
    return Samples(blocks.series_id, blocks.ts, blocks.value).take(within)


def _within(stored: Samples, wanted: Samples) -> Samples:
    """Those of a day's stored samples that have a series and instant of the wanted ones."""
    if not len(stored):
        return stored
    ids = np.unique(wanted.series_id)
    stored_key, wanted_key = (
        np.searchsorted(ids, each.series_id) * DAY_US + each.ts % DAY_US
        for each in (stored, wanted)
    )
    return stored.take(np.isin(stored_key, wanted_key))
