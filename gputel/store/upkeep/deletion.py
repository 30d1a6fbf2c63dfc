"""What people delete: the samples that meet all conditions, and what there is of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import asyncpg
import numpy as np

from gputel.errors import UsageError
from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import Samples, decode_rows, lengths, micros
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.selection import Bools, Selection, storable
from gputel.store.read.series_reader import moment

SQL = load("delete")
_FETCH = 10_000
_FETCH_BLOCKS = 64  # of 65,536 samples at most
_READ_LATELY_S = 10.0
_OF_GPUS = (
    "(s.uuid = ANY (${}::text[]) OR (s.hostname, s.gpu_id) IN "
    "(SELECT host, index FROM unnest(${}::text[], ${}::text[]) AS place (host, index)))"
)
_DAY = timedelta(days=1)


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
    """Other streams that brought samples again, perhaps some of these: each is stored once."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not self.samples and not self.rollup_minutes


class _Count:
    def __init__(self) -> None:
        self.series: Int64 = np.empty(0, np.int64)
        self.samples = self.blocks = self.bytes = self.minutes = self.cut = self.days_left = 0
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, ids: Sequence[int], first: datetime, last: datetime) -> None:
        self.series = np.union1d(self.series, np.array(ids, np.int64))
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


async def survey(
    connection: asyncpg.Connection, deletion: Deletion, streams: tuple[int, ...] | None
) -> Survey:
    """What there is to delete, as one snapshot of the store shows it.

    Heads of blocks are read, and the samples of those that the range cuts. Raises StoreUnavailable
    or StoreError.
    """
    count = _Count()
    async with (
        store_errors(),
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        for row in await connection.fetch(SQL["days"], *deletion.span):
            if row["part"] is None:
                if streams is None:
                    await _count_minutes(connection, deletion, row["day"], count)
                else:
                    count.days_left += 1
                continue
            await _count_whole(connection, deletion, row["day"], streams, count)
            await _count_cut(connection, deletion, row["day"], streams, count)
        owners = await connection.fetchrow(SQL["owners"], count.series.tolist())
        repeating = await connection.fetchval(SQL["repeating_streams"], streams or ())
    return Survey(
        len(count.series),
        owners["gpus"],
        owners["hosts"],
        count.samples,
        count.blocks,
        count.bytes,
        count.first,
        count.last,
        count.minutes,
        count.cut,
        count.days_left,
        repeating if streams else 0,
    )


async def _count_whole(
    connection: asyncpg.Connection,
    deletion: Deletion,
    day: date,
    streams: tuple[int, ...] | None,
    count: _Count,
) -> None:
    where, arguments = deletion.where(6)
    cursor = await connection.cursor(
        SQL["whole"].format(where=where), *day_span(day), *deletion.span, streams, *arguments
    )
    while rows := await cursor.fetch(_FETCH):
        count.samples += sum(row["samples"] for row in rows)
        count.blocks += sum(row["blocks"] for row in rows)
        count.bytes += sum(row["bytes"] for row in rows)
        count.add(
            [row["series_id"] for row in rows],
            min(row["first_ts"] for row in rows),
            max(row["last_ts"] for row in rows),
        )


async def _count_cut(
    connection: asyncpg.Connection,
    deletion: Deletion,
    day: date,
    streams: tuple[int, ...] | None,
    count: _Count,
) -> None:
    where, arguments = deletion.where(6)
    cursor = await connection.cursor(
        SQL["cut"].format(where=where), *day_span(day), *deletion.span, streams, *arguments
    )
    while rows := await cursor.fetch(_FETCH_BLOCKS):
        samples, blocks, size = await asyncio.to_thread(_inside, rows, deletion)
        if not len(samples):
            continue
        count.samples += len(samples)
        count.blocks += blocks
        count.bytes += size
        count.add(
            np.unique(samples.series_id).tolist(),
            moment(int(samples.ts.min())),
            moment(int(samples.ts.max())),
        )


def _inside(rows: Sequence[asyncpg.Record], deletion: Deletion) -> tuple[Samples, int, int]:
    """The samples of these blocks in the range, the number of blocks with some, and their bytes."""
    samples = decode_rows(rows)
    inside = deletion.includes(samples.ts)
    counts = lengths([row["value"] for row in rows])
    block = np.repeat(np.arange(len(rows)), counts)
    within = np.bincount(block[inside], minlength=len(rows))
    sizes = np.array([row["bytes"] for row in rows], np.int64) * within // np.maximum(1, counts)
    return samples.take(inside), int((within > 0).sum()), int(sizes.sum())


async def _count_minutes(
    connection: asyncpg.Connection, deletion: Deletion, day: date, count: _Count
) -> None:
    where, arguments = deletion.where(5)
    cursor = await connection.cursor(
        SQL["minutes"].format(where=where), *day_span(day), *deletion.span, *arguments
    )
    while rows := await cursor.fetch(_FETCH):
        count.cut += sum(row["cut"] for row in rows)
        going = [row for row in rows if row["minutes"]]
        if going:
            count.minutes += sum(row["minutes"] for row in going)
            count.add(
                [row["series_id"] for row in going],
                min(row["first_ts"] for row in going),
                max(row["last_ts"] for row in going) + timedelta(hours=1) - timedelta.resolution,
            )


def day_span(day: date) -> tuple[datetime, datetime]:
    """A UTC day: its beginning, and its end, which is not included."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return midnight, midnight + _DAY
