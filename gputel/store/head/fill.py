"""Fills the head from a snapshot of Postgres."""

from __future__ import annotations

import asyncio

import numpy as np

from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import EMPTY, Samples, micros, ordered
from gputel.store.head.piece import Piece, merged, piece_of
from gputel.store.head.series_table import SeriesTable
from gputel.store.head.state import HeadState
from gputel.store.read.known_series import KnownSeries
from gputel.store.read.reader import LATEST, Connection
from gputel.store.read.series_reader import ends_in, sample_pieces, series_where
from gputel.threads import READING

_SERIES = 5_000  # that are read in one go
_LEARN_SERIES = 500  # that are added to the table without a pause for other work
_LATEST_US = micros(LATEST)


async def fill(
    connection: Connection, known: KnownSeries, floor_us: int, max_bytes: int
) -> tuple[HeadState, SeriesTable]:
    """All samples from the floor on, and their series; from a later floor if they are too many."""
    state, table = HeadState(floor_us), SeriesTable()
    ids = await series_where(connection, {}, floor_us, _LATEST_US)
    for first in range(0, len(ids), _SERIES):
        samples = await _stored(connection, ids[first : first + _SERIES], state.floor_us)
        state = await READING.run(state.with_landed, samples)
        await learn(connection, known, table, np.unique(samples.series_id))
        state = state.bounded(max_bytes - table.nbytes)
    ends = await ends_in(connection, state.floor_us, _LATEST_US)
    return state.with_landed(EMPTY, ends), table


async def learn(
    connection: Connection, known: KnownSeries, table: SeriesTable, series_ids: Int64
) -> None:
    """Add those of the series to the table that it does not have."""
    if unknown := table.unknown(series_ids.tolist()):
        labels = await known.labels(connection, unknown)
        for first in range(0, len(labels), _LEARN_SERIES):
            table.add(labels[first : first + _LEARN_SERIES])
            await asyncio.sleep(0)


async def _stored(connection: Connection, series_ids: Int64, floor_us: int) -> Samples:
    """The samples of these series from the floor on, in order."""
    read = [
        await READING.run(_piece, each)
        async for each in sample_pieces(connection, series_ids.tolist(), floor_us, _LATEST_US)
        if len(each)
    ]
    return await READING.run(merged, read) if read else EMPTY


def _piece(samples: Samples) -> Piece:
    return piece_of(ordered(samples))
