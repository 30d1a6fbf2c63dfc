"""Reads many series at once: which series match, and their samples in columns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import asyncpg
import numpy as np

from gputel.model.names import LABELS
from gputel.store import queries
from gputel.store.blocks.copy_format import PG_EPOCH_US
from gputel.store.blocks.samples import (
    EPOCH,
    INTEGER,
    NUMBER,
    Samples,
    concatenate,
    decode_blocks,
    elements,
    micros,
    ordered,
)
from gputel.store.read.known_series import KnownSeries
from gputel.store.read.reader import EARLIEST, LATEST, Connection
from gputel.store.read.records import SeriesLabels
from gputel.store.read.selection import storable
from gputel.threads import READING

_SQL = queries.load("series_reader")
_MARK = "/* conditions */"
_PIECE_SERIES = 1000
_FIRST_FETCH_BLOCKS = 256
_MOST_FETCH_BLOCKS = 8192
_FETCH_SAMPLES = 1_000_000
_IN_THREAD_SAMPLES = 10_000  # below that, a thread costs more than it gains


async def series_where(
    connection: Connection,
    known: KnownSeries,
    allowed: Mapping[str, Sequence[str]],
    first_us: int,
    last_us: int,
) -> AsyncGenerator[list[SeriesLabels], None]:
    """The series whose labels have one of the allowed values, in batches and in order of id.

    ``allowed`` has the values by label, each one of LABELS. Yields only series of GPUs that were
    seen between ``first_us`` and ``last_us`` (Unix microseconds). The series itself may have no
    sample in that time.
    """
    values = [[text for text in texts if storable(text)] for texts in allowed.values()]
    assert allowed.keys() <= set(LABELS)
    conditions = [
        f"AND s.{name} = ANY (${number}::text[])" for number, name in enumerate(allowed, start=3)
    ]
    sql = _SQL["series"].replace(_MARK, " ".join(conditions))
    raw = await connection.fetchval(sql, moment(first_us), moment(last_us), *values)
    series_ids = np.sort(elements([raw] if raw else [], INTEGER))
    for first in range(0, len(series_ids), _PIECE_SERIES):
        yield await known.labels(connection, series_ids[first : first + _PIECE_SERIES].tolist())


async def samples_of(
    connection: Connection,
    series_ids: Sequence[int],
    first_us: int,
    last_us: int,
    count: Callable[[int], None],
) -> Samples:
    """All samples of the series from ``first_us`` to ``last_us``, both inclusive.

    They are in order of series and time, each instant of a series once. ``count`` is called with
    the number of samples in each batch. It may raise to stop.
    """
    pieces: list[Samples] = []
    async with aclosing(sample_pieces(connection, series_ids, first_us, last_us)) as read:
        async for piece in read:
            count(len(piece))
            pieces.append(piece)
    return await READING.run_if(sum(map(len, pieces)) > _IN_THREAD_SAMPLES, _joined, pieces)


async def sample_pieces(
    connection: Connection, series_ids: Sequence[int], first_us: int, last_us: int
) -> AsyncGenerator[Samples, None]:
    """The same samples piece by piece, as blocks have them: an instant may come several times."""
    first, last = moment(first_us), moment(last_us)
    if not series_ids or first_us > last_us:
        return
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
    cursor = await connection.cursor(
        _SQL["blocks"], list(series_ids), first, last, midnight + timedelta(days=1)
    )
    fetch = _FIRST_FETCH_BLOCKS
    while rows := await cursor.fetch(fetch):
        piece = await _decoded(rows, first_us, last_us)
        yield piece
        if len(rows) < fetch:
            break
        fetch = max(16, min(_MOST_FETCH_BLOCKS, _FETCH_SAMPLES * fetch // max(1, len(piece))))


def moment(us: int) -> datetime:
    """Unix microseconds as a time, limited to the range that Postgres can store."""
    if us <= micros(EARLIEST):
        return EARLIEST
    return LATEST if us >= micros(LATEST) else EPOCH + timedelta(microseconds=us)


def _joined(pieces: Sequence[Samples]) -> Samples:
    return ordered(concatenate(pieces))


async def _decoded(rows: Sequence[asyncpg.Record], first_us: int, last_us: int) -> Samples:
    many = sum(len(row["value"]) for row in rows) > _IN_THREAD_SAMPLES * NUMBER.itemsize
    return await READING.run_if(many, _decode, rows, first_us, last_us)


def _decode(rows: Sequence[asyncpg.Record], first_us: int, last_us: int) -> Samples:
    series_ids, first, step_us, skipped, off_us, value = zip(*rows, strict=True)
    starts = np.frombuffer(b"".join(first), ">i8") + PG_EPOCH_US
    starts += np.array(skipped, np.int64) * np.array(step_us, np.int64)
    samples = decode_blocks(series_ids, starts, step_us, off_us, value)
    inside = (samples.ts >= first_us) & (samples.ts <= last_us)
    return samples if np.all(inside) else samples.take(inside)
