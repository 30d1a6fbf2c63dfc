"""Reads many series at once: which series match, and their samples in columns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import asyncpg
import numpy as np

from gputel.model.columns import STALE_BITS
from gputel.model.names import LABELS
from gputel.store import queries
from gputel.store.blocks.blocks import PG_EPOCH_US, Int64
from gputel.store.blocks.frames import decode_runs
from gputel.store.blocks.samples import (
    EMPTY,
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
from gputel.store.read.selection import Selection, storable
from gputel.threads import READING

LOOK_BACK = timedelta(minutes=5)
"""A series that is older than the newest sample of its GPU by more than this has ended."""

_SQL = queries.load("series_reader")
_LATEST = queries.load("latest")
_MARK = "/* conditions */"
_PIECE_SERIES = 1000
_PIECE_IDS = 100_000  # series that one statement looks for: bounds its memory
_PIECE_FRAMED = 5_000  # likewise, if all their frames come at once
_FIRST_FETCH_BLOCKS = 256
_MOST_FETCH_BLOCKS = 8192
_FETCH_SAMPLES = 1_000_000
_IN_THREAD_SAMPLES = 10_000  # below that, a thread costs more than it gains


async def series_where(
    connection: Connection, allowed: Mapping[str, Sequence[str]], first_us: int, last_us: int
) -> Int64:
    """The ids of the series whose labels have one of the allowed values, in order.

    ``allowed`` has the values by label, each one of LABELS. Only series of GPUs that were seen
    between ``first_us`` and ``last_us`` (Unix microseconds) are found. The series itself may have
    no sample in that time: ``sampled`` tells.
    """
    values = [[text for text in texts if storable(text)] for texts in allowed.values()]
    assert allowed.keys() <= set(LABELS)
    conditions = [
        f"AND s.{name} = ANY (${number}::text[])" for number, name in enumerate(allowed, start=3)
    ]
    sql = _SQL["series"].replace(_MARK, " ".join(conditions))
    raw = await connection.fetchval(sql, moment(first_us), moment(last_us), *values)
    return np.sort(elements([raw] if raw else [], INTEGER))


async def others_of(connection: Connection, series_ids: Sequence[int]) -> list[int]:
    """The ids of all other series of the same metrics and GPUs as these."""
    raw = await connection.fetchval(_SQL["others"], series_ids)
    return [int(each) for each in elements([raw] if raw else [], INTEGER)]


async def sampled(connection: Connection, series_ids: Int64, first_us: int, last_us: int) -> Int64:
    """Of these series, which are in order, those that have samples in the time, in order."""
    start, end = moment(first_us), moment(last_us)
    if start <= EARLIEST and end >= LATEST:
        return series_ids
    found = []
    for first in range(0, len(series_ids), _PIECE_IDS):
        piece = series_ids[first : first + _PIECE_IDS].tolist()
        raw = await connection.fetchval(_SQL["sampled"], piece, start, end, _midnight_after(end))
        found += [raw] if raw else []
    return np.sort(elements(found, INTEGER))


async def ends_of(
    connection: Connection, series_ids: Int64, first_us: int, last_us: int
) -> Samples:
    """When these series ended in the time: samples with the stale marker, in no set order."""
    row = await connection.fetchrow(
        _SQL["ends"], series_ids.tolist(), moment(first_us), moment(last_us)
    )
    return _ends(row)


async def ends_in(connection: Connection, first_us: int, last_us: int) -> Samples:
    """When any series ended in the time, likewise."""
    return _ends(await connection.fetchrow(_SQL["ends_in"], moment(first_us), moment(last_us)))


def _ends(row: asyncpg.Record) -> Samples:
    if not row["series_id"]:
        return EMPTY
    ids, ts = (elements([row[name]], INTEGER).astype(np.int64) for name in ("series_id", "ts"))
    stale = np.full(len(ids), STALE_BITS, np.int64).view(np.float64)
    return Samples(ids, ts + PG_EPOCH_US, stale)


async def newest_of(
    connection: Connection,
    selection: Selection,
    seen_since: datetime | None,
    most: int,
    before: datetime = LATEST,
) -> Samples:
    """The newest sample of each series, in no set order; more than ``most`` at most by one.

    Of the selected series of GPUs that were last seen before a time: those with a sample since
    ``seen_since``, or, if that is None, in the LOOK_BACK before the newest sample of their GPU. Of
    several values of an instant, the one that counts.
    """
    # GPUs are only ever seen later, so what lands before the next statement changes nothing.
    row = await connection.fetchrow(_LATEST["oldest"], seen_since, LOOK_BACK, before)
    if not row["silent"]:
        return EMPTY
    where, arguments = selection.where(6)
    row = await connection.fetchrow(
        _LATEST["latest"].format(where=where),
        *(seen_since, LOOK_BACK, most, row["since"], before),
        *arguments,
    )
    ids, ts, value = (
        elements([row[name]] if row[name] else [], kind)
        for name, kind in (("series_id", INTEGER), ("last_ts", INTEGER), ("value", NUMBER))
    )
    return Samples(
        ids.astype(np.int64), ts.astype(np.int64) + PG_EPOCH_US, value.astype(np.float64)
    )


async def there(
    connection: Connection, series_ids: Sequence[int], times_us: Sequence[int], within_us: int
) -> list[bool]:
    """Whether each of the series has a sample at most ``within_us`` before or after its time."""
    moments, within = [*map(moment, times_us)], timedelta(microseconds=within_us)
    found: list[bool] | None = await connection.fetchval(
        _LATEST["there"], series_ids, moments, within
    )
    return found or []


async def labels_of(
    connection: Connection, known: KnownSeries, series_ids: Int64
) -> AsyncGenerator[list[SeriesLabels], None]:
    """The labels of these series, in batches."""
    for first in range(0, len(series_ids), _PIECE_SERIES):
        yield await known.labels(connection, series_ids[first : first + _PIECE_SERIES].tolist())


async def samples_of(
    connection: Connection,
    series_ids: Sequence[int],
    first_us: int,
    last_us: int,
    count: Callable[[Samples], None],
) -> Samples:
    """All samples of the series from ``first_us`` to ``last_us``, both inclusive.

    They are in order of series and time, each instant of a series once. ``count`` is called with
    each batch of samples. It may raise to stop.
    """
    pieces: list[Samples] = []
    async with aclosing(sample_pieces(connection, series_ids, first_us, last_us)) as read:
        async for piece in read:
            count(piece)
            pieces.append(piece)
    return await READING.run_if(sum(map(len, pieces)) > _IN_THREAD_SAMPLES, _joined, pieces)


async def sample_pieces(
    connection: Connection, series_ids: Sequence[int], first_us: int, last_us: int
) -> AsyncGenerator[Samples, None]:
    """The same samples piece by piece, as the store has them: an instant may come several times.

    Pieces are in no set order.
    """
    if first_us > last_us:
        return
    ids = sorted(series_ids)
    for first in range(0, len(ids), _PIECE_IDS):
        some = ids[first : first + _PIECE_IDS]
        async with aclosing(_batches(connection, some, first_us, last_us)) as batches:
            async for piece in batches:
                yield piece
    span = moment(first_us), moment(last_us), _midnight_after(moment(last_us))
    for first in range(0, len(ids), _PIECE_FRAMED):
        some = ids[first : first + _PIECE_FRAMED]
        if rows := await connection.fetch(_SQL["frames"], some, *span):
            many = sum(len(row["value"]) for row in rows) > _IN_THREAD_SAMPLES * NUMBER.itemsize
            yield await READING.run_if(many, _decode_framed, rows, first_us, last_us)


async def _batches(
    connection: Connection, series_ids: list[int], first_us: int, last_us: int
) -> AsyncGenerator[Samples, None]:
    first, last = moment(first_us), moment(last_us)
    cursor = await connection.cursor(_SQL["blocks"], series_ids, first, last, _midnight_after(last))
    fetch = _FIRST_FETCH_BLOCKS
    while rows := await cursor.fetch(fetch):
        piece = await _decoded(rows, first_us, last_us)
        yield piece
        if len(rows) < fetch:
            return
        fetch = max(16, min(_MOST_FETCH_BLOCKS, _FETCH_SAMPLES * fetch // max(1, len(piece))))


def moment(us: int) -> datetime:
    """Unix microseconds as a time, limited to the range that Postgres can store."""
    if us <= micros(EARLIEST):
        return EARLIEST
    return LATEST if us >= micros(LATEST) else EPOCH + timedelta(microseconds=us)


def _joined(pieces: Sequence[Samples]) -> Samples:
    return ordered(concatenate(pieces))


def _midnight_after(moment: datetime) -> datetime:
    """The end of its UTC day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


async def _decoded(rows: Sequence[asyncpg.Record], first_us: int, last_us: int) -> Samples:
    many = sum(len(row["value"]) for row in rows) > _IN_THREAD_SAMPLES * NUMBER.itemsize
    return await READING.run_if(many, _decode, rows, first_us, last_us)


def _decode(rows: Sequence[asyncpg.Record], first_us: int, last_us: int) -> Samples:
    series_ids, first, step_us, skipped, off_us, value = zip(*rows, strict=True)
    starts = np.frombuffer(b"".join(first), ">i8") + PG_EPOCH_US
    starts += np.array(skipped, np.int64) * np.array(step_us, np.int64)
    return _inside(decode_blocks(series_ids, starts, step_us, off_us, value), first_us, last_us)


def _decode_framed(rows: Sequence[asyncpg.Record], first_us: int, last_us: int) -> Samples:
    pieces = [
        decode_runs(samples, [row for row in rows if row["samples"] == samples])
        for samples in {row["samples"] for row in rows}
    ]
    return _inside(concatenate(pieces), first_us, last_us)


def _inside(samples: Samples, first_us: int, last_us: int) -> Samples:
    inside = (samples.ts >= first_us) & (samples.ts <= last_us)
    return samples if np.all(inside) else samples.take(inside)
