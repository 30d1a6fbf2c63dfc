"""Questions to the store: which GPUs there are, and their telemetry, newest first.

Telemetry is read a UTC day at a time, from the newest backwards: a block never spans midnight, so
the days need no merging, the partitions of other days are not touched, and the first records come
at once however long the range is. Within a day blocks stream through a server-side cursor into
the merge of ``newest_first``. All of it sees one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from gputel.errors import StoreUnavailable
from gputel.store import queries
from gputel.store.newest_first import NewestFirst
from gputel.store.pool import store_errors
from gputel.store.records import Gpu, Records, SeriesLabels
from gputel.store.samples import Samples, concatenate, decode_rows, micros

RECORDS_PER_PIECE = 500
"""Most records that ``Reader.telemetry`` yields at once: a millisecond of work."""

_DAY = timedelta(days=1)
# The ends of Python's calendar, a day short so that a day can be added.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC) - 2 * _DAY
_FIRST_FETCH_BLOCKS = 32
_MOST_FETCH_BLOCKS = 4096
_FETCH_SAMPLES = 16_384
_BUSY_WAIT_S = 10.0
_CHECK = "SELECT 1"


@dataclass(frozen=True)
class _Range:
    """An inclusive span of time, and the series wanted in it."""

    start: datetime
    end: datetime
    series_ids: list[int]


class Reader:
    """The reading side of the store, over a pool that the caller opened and will close.

    Every call raises StoreUnavailable while Postgres is away and StoreError where it refuses. A
    call that is cancelled cancels its statement in Postgres.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = queries.load("reader")
        # Long reads leave half of the sessions to everything else that shares the pool.
        self._streams = asyncio.Semaphore(max(1, pool.get_max_size() // 2))

    async def check(self) -> str | None:
        """None when Postgres answers, else what is wrong: a readiness check."""
        try:
            async with store_errors():
                await self._pool.fetchval(_CHECK)
        except Exception as error:
            return str(error)
        return None

    async def gpus(self) -> list[Gpu]:
        """Every GPU that has samples, ordered by uuid, with the labels of its newest series."""
        async with store_errors():
            rows = await self._pool.fetch(self._sql["gpus"])
        return [Gpu(*row) for row in rows]

    async def gpu_exists(self, uuid: str) -> bool:
        """Whether a sample of this GPU has ever landed."""
        if not storable(uuid):
            return False
        async with store_errors():
            return bool(await self._pool.fetchval(self._sql["gpu_exists"], uuid))

    async def telemetry(
        self,
        uuid: str,
        start: datetime | None = None,
        end: datetime | None = None,
        metric: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Records, None]:
        """The records of one GPU from ``start`` to ``end`` inclusive, newest first.

        Yields 1 to RECORDS_PER_PIECE records at a time, all of them unless ``limit`` stops it
        sooner, in memory that does not grow with their number. Records of one instant come in a
        fixed order. An unknown GPU or metric yields nothing. Holds a session of the pool
        until it is exhausted or closed: wrap it in ``contextlib.aclosing``. Raises
        StoreUnavailable when too many others read at the same time.
        """
        if not storable(uuid) or not storable(metric or ""):
            return
        start, end = max(start or EARLIEST, EARLIEST), min(end or LATEST, LATEST)
        async with self.snapshot() as connection:
            series = await self.series_of(connection, uuid, metric, end)
            span = _Range(start, end, list(series))
            async with aclosing(self._samples(connection, span)) as pieces:
                left = limit
                async for samples in pieces:
                    for records in in_pieces(samples, series, left):
                        yield records
                    if left is not None:
                        left -= len(samples)
                        if left <= 0:
                            return

    async def series_of(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        uuid: str,
        metric: str | None,
        end: datetime,
    ) -> dict[int, SeriesLabels]:
        """The series of a GPU, or of one metric of it, that have samples up to ``end``, by id."""
        found = await connection.fetch(self._sql["series_of_gpu"], uuid, metric, end)
        return {row["series_id"]: SeriesLabels(*row) for row in found}

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """A session in a read-only transaction that sees one state of the store."""
        try:
            async with asyncio.timeout(_BUSY_WAIT_S):
                await self._streams.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                "as many telemetry requests as may run at once are running: try again, narrow "
                "them, or raise --postgres-pool-size"
            ) from None
        try:
            async with (
                store_errors(),
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection
        finally:
            self._streams.release()

    async def _samples(
        self, connection: asyncpg.pool.PoolConnectionProxy, span: _Range
    ) -> AsyncGenerator[Samples, None]:
        """Samples in final order, a day at a time."""
        before = _midnight(span.end) + _DAY
        while span.series_ids and before > span.start:
            day = before - _DAY
            if day > span.start:
                newest = await connection.fetchval(
                    self._sql["newest_block"], span.series_ids, span.start, before
                )
                if newest is None:
                    return
                day = _midnight(newest)
            async with aclosing(self._day(connection, span, day)) as pieces:
                async for samples in pieces:
                    yield samples
            before = day

    async def _day(
        self, connection: asyncpg.pool.PoolConnectionProxy, span: _Range, day: datetime
    ) -> AsyncGenerator[Samples, None]:
        cursor = await connection.cursor(
            self._sql["blocks"], span.series_ids, max(day, span.start), day + _DAY, span.end
        )
        merge = NewestFirst(micros(span.start), micros(span.end))
        fetch_blocks = _FIRST_FETCH_BLOCKS
        while rows := await cursor.fetch(fetch_blocks):
            more = len(rows) == fetch_blocks
            samples, ready = await asyncio.to_thread(_merge, merge, rows, more)
            if ready:
                yield ready
            if not more:
                return
            per_block = max(1, samples // len(rows))
            most = max(4, _FETCH_SAMPLES // per_block)
            fetch_blocks = min(4 * fetch_blocks, _MOST_FETCH_BLOCKS, most)
        if rest := await asyncio.to_thread(merge.rest):
            yield rest


def _merge(merge: NewestFirst, rows: list[asyncpg.Record], more: bool) -> tuple[int, Samples]:
    """Push fetched blocks; return how many samples they had and what has become final.

    Without ``more`` to come that is all there is.
    """
    samples = decode_rows(rows)
    final = merge.push(samples, micros(rows[-1]["last_ts"]))
    return len(samples), final if more else concatenate([final, merge.rest()])


def in_pieces(
    samples: Samples, series: Mapping[int, SeriesLabels], limit: int | None
) -> Iterator[Records]:
    """Records of the samples, or of the first ``limit``, a handful at a time."""
    count = len(samples) if limit is None else min(limit, len(samples))
    for first in range(0, count, RECORDS_PER_PIECE):
        piece = samples.take(slice(first, min(first + RECORDS_PER_PIECE, count)))
        yield Records(piece, series)


def _midnight(moment: datetime) -> datetime:
    """The start of its UTC day."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def storable(text: str) -> bool:
    """Whether Postgres could hold this text: it takes neither NUL nor half a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
