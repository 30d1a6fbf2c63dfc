"""What people delete: the samples that meet all conditions, and what there is of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import product

import asyncpg
import numpy as np

from gputel.errors import UsageError
from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import INTEGER, decode_rows, elements, lengths, micros
from gputel.store.days import day_span
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.selection import Bools, Selection, storable
from gputel.store.read.series_reader import moment
from gputel.store.upkeep.batches import BY_INDEX

SQL = load("delete")
_FETCH = 10_000
_PIECE_IDS = 100_000
_FETCH_BLOCKS = 64  # of 65,536 samples at most
_READ_LATELY_S = 10.0
_OF_GPUS = (
    "(s.uuid = ANY (${}::text[]) OR (s.hostname, s.gpu_id) IN "
    "(SELECT host, index FROM unnest(${}::text[], ${}::text[]) AS place (host, index)))"
)


@dataclass(frozen=True)
class Deletion:
    """Conditions that all have to hold; one that is empty holds for every sample.

    ``selection`` is of labels, ``places`` are the host and index of GPUs: a series is of one of
    ``uuids`` or ``places``. Both ``start`` and ``end`` are included.
    """

    selection: Selection = field(default_factory=Selection)
    uuids: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    streams: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    @property
    def of_whole_streams(self) -> bool:
        """Whether nothing but streams is named, so that these streams go as well."""
        return bool(self.streams) and self == Deletion(streams=self.streams)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The first and the last instant."""
        return self.start or EARLIEST, self.end or LATEST

    def includes(self, ts: Int64, length_us: int = 1) -> Bools:
        """Which of the spans that begin at these Unix microseconds lie in the time."""
        first, last = map(micros, self.span)
        return (ts >= first) & (ts + (length_us - 1) <= last)

    def touches(self, ts: Int64, length_us: int) -> Bools:
        """Which of these spans have a part in the time."""
        first, last = map(micros, self.span)
        return (ts + (length_us - 1) >= first) & (ts <= last)

    def where(self, first: int) -> tuple[str, list[list[str]]]:
        """A condition on ``series AS s`` and its arguments, from placeholder ``$first`` on."""
        where, arguments = self.selection.where(first)
        if self.uuids or self.places:
            number = first + len(arguments)
            where += f" AND {_OF_GPUS.format(number, number + 1, number + 2)}"
            places = [each for each in self.places if all(map(storable, each))]
            arguments += [
                [each for each in self.uuids if storable(each)],
                [host for host, _ in places],
                [index for _, index in places],
            ]
        return where, arguments


async def stream_numbers(
    connection: asyncpg.Connection, deletion: Deletion
) -> tuple[int, ...] | None:
    """The streams of a deletion as blocks have them; None for blocks of any stream.

    Raises UsageError for a stream that is unknown, that blocks do not tell, or, where the stream is
    to go as well, that a streamer reads.
    """
    if not deletion.streams:
        return None
    names = [name for name in deletion.streams if storable(name)]
    async with store_errors():
        rows = await connection.fetch(SQL["streams"], names, _READ_LATELY_S)
    known = {row["stream_id"]: row for row in rows}
    for name in deletion.streams:
        if name not in known:
            raise UsageError(
                f"--stream: there is no stream {name!r}; gputel db streams lists those there are"
            )
        _check(known[name], of_whole_streams=deletion.of_whole_streams)
    return tuple(row["number"] for row in rows)


def _check(row: asyncpg.Record, *, of_whole_streams: bool) -> None:
    name = row["stream_id"]
    if row["slots"]:
        raise UsageError(
            f"--stream: {name!r} is a stream of scrapes, whose samples cannot be told by stream: "
            "delete them by --host, --gpu, --metric, --start or --end"
        )
    if not row["recorded"]:
        raise UsageError(
            f"--stream: {name!r} began with an older gputel, which did not store the stream of its "
            "samples: delete them by --host, --gpu, --metric, --start or --end"
        )
    if of_whole_streams and row["is_read"]:
        raise UsageError(
            f"--stream: a streamer reads {name!r} now: stop it and try again. It counts as stopped "
            f"{_READ_LATELY_S:g} s after it last read, and when the leases of its chunks have "
            "ended (--chunk-lease-s)"
        )


@dataclass(frozen=True)
class Survey:
    """What a deletion would take away. ``bytes`` are those of blocks, cut ones in proportion."""

    series: int = 0
    gpus: int = 0
    hosts: int = 0
    samples: int = 0
    blocks: int = 0
    bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None
    rollup_minutes: int = 0
    """Minutes of rollups whose samples the retention has dropped already."""
    rollup_minutes_cut: int = 0
    """Such minutes that the range cuts: they stay, because no sample is left to make them of."""
    rollup_days_left: int = 0
    """Days of which only rollups are left, which do not tell streams: they stay."""
    repeating_streams: int = 0
    """Other streams that brought samples again since these began, perhaps some of these."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not self.samples and not self.rollup_minutes


class _Count:
    def __init__(self, deletion: Deletion) -> None:
        self._deletion = deletion
        self.series: Int64 = np.empty(0, np.int64)
        self.totals = Counter[str]()  # by the names of Survey
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add_whole(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add series whose blocks lie in the range."""
        for name in ("samples", "blocks", "bytes"):
            self.totals[name] += sum(row[name] for row in rows)
        self._add_series(rows)

    def add_cut(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add blocks that the range may cut."""
        samples = decode_rows(rows)
        inside = self._deletion.includes(samples.ts)
        counts = lengths([row["value"] for row in rows])
        block = np.repeat(np.arange(len(rows)), counts)
        within = np.bincount(block[inside], minlength=len(rows))
        sizes = np.array([row["bytes"] for row in rows], np.int64) * within // np.maximum(1, counts)
        if inside.any():
            self.totals["samples"] += int(inside.sum())
            self.totals["blocks"] += int((within > 0).sum())
            self.totals["bytes"] += int(sizes.sum())
            ts = samples.ts[inside]
            ids = np.unique(samples.series_id[inside])
            self._add(ids, moment(int(ts.min())), moment(int(ts.max())))

    def add_minutes(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add series of which only rollups are left."""
        self.totals["rollup_minutes"] += sum(row["minutes"] for row in rows)
        self.totals["rollup_minutes_cut"] += sum(row["cut"] for row in rows)
        self._add_series([row for row in rows if row["minutes"]])

    def _add_series(self, rows: Sequence[asyncpg.Record]) -> None:
        if rows:
            ids = np.array([row["series_id"] for row in rows], np.int64)
            first, last = (row["first_ts"] for row in rows), (row["last_ts"] for row in rows)
            self._add(ids, min(first), max(last))

    def _add(self, ids: Int64, first: datetime, last: datetime) -> None:
        self.series = np.union1d(self.series, ids)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


async def survey(
    connection: asyncpg.Connection, deletion: Deletion, streams: tuple[int, ...] | None
) -> Survey:
    """What there is to delete, as one snapshot of the store shows it.

    Heads of blocks are read, and the samples of those that the range cuts. Raises StoreUnavailable
    or StoreError.
    """
    count = _Count(deletion)
    read = partial(_rows, connection)
    async with (
        store_errors(),
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        days = await connection.fetch(SQL["days"], *deletion.span)
        pieces = await series_pieces(connection, deletion)
        if pieces != [None]:
            await connection.execute(BY_INDEX)
        for (day, part), ids in product(days, pieces):
            bounds = *day_span(day), *deletion.span, streams, ids
            if part:
                async for rows in read("whole", *bounds):
                    count.add_whole(rows)
                async for rows in read("cut", *bounds, at_once=_FETCH_BLOCKS):
                    await asyncio.to_thread(count.add_cut, rows)
            elif streams is None:
                async for rows in read("minutes", *bounds):
                    count.add_minutes(rows)
        left = sum(part is None for _, part in days) if streams else 0
        owners = await connection.fetchrow(SQL["owners"], count.series.tolist())
        repeating = await connection.fetchval(SQL["repeating_streams"], streams or ())
    return Survey(
        series=len(count.series),
        first=count.first,
        last=count.last,
        rollup_days_left=left,
        repeating_streams=repeating if streams else 0,
        **owners,
        **count.totals,
    )


async def series_pieces(
    connection: asyncpg.Connection, deletion: Deletion
) -> list[list[int] | None]:
    """The ids of the series that meet the conditions on labels, in pieces that fit one statement.

    ``[None]`` if there are no such conditions, which stands for all series.
    """
    if not (deletion.selection.conditions or deletion.uuids or deletion.places):
        return [None]
    where, conditions = deletion.where(1)
    raw = await connection.fetchval(SQL["matching"].format(where=where), *conditions)
    ids = elements([raw] if raw else [], INTEGER).tolist()
    return [ids[first : first + _PIECE_IDS] for first in range(0, len(ids), _PIECE_IDS)]


async def _rows(
    connection: asyncpg.Connection, statement: str, *arguments: object, at_once: int = _FETCH
) -> AsyncIterator[list[asyncpg.Record]]:
    cursor = await connection.cursor(SQL[statement], *arguments)
    while rows := await cursor.fetch(at_once):
        yield rows
