"""The queries that all readers share: whether the store answers, its GPUs, its series."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg

from gputel.errors import QueryTooLarge, StoreError, StoreUnavailable
from gputel.store import queries
from gputel.store.limits import ANY, Limits
from gputel.store.pool import store_errors
from gputel.store.read.known_series import CACHE_BYTES, KnownSeries
from gputel.store.read.records import Gpu, SeriesLabels
from gputel.store.read.selection import EVERY, Selection, storable

# The ends of Python's calendar, a day short so that a day can be added.
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)
_BUSY_WAIT_S = 10.0
_LEFT_SESSIONS = 2

Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy


class Reader:
    """The reading side of the store, over a pool that the caller opened and will close.

    Every call raises StoreUnavailable while Postgres is away and StoreError where it refuses. A
    call that is cancelled cancels its statement in Postgres.
    """

    def __init__(self, pool: asyncpg.Pool, cache_bytes: int = CACHE_BYTES) -> None:
        self._pool = pool
        self._sql = queries.load("reader")
        self.known = KnownSeries(cache_bytes)
        # Long reads may take half of the sessions. All reads together leave some for what else
        # uses the pool: the keys of pushes, readiness, a collector in the same process.
        self._streams = asyncio.Semaphore(max(1, pool.get_max_size() // 2))
        self.most_sessions = max(1, pool.get_max_size() - _LEFT_SESSIONS)
        self._sessions = asyncio.Semaphore(self.most_sessions)

    async def gpus(
        self,
        selection: Selection = EVERY,
        seen_since: datetime | None = None,
        limits: Limits = ANY,
    ) -> list[Gpu]:
        """Every GPU that has samples, ordered by uuid, with its labels as they were last seen.

        The selection applies to these labels. GPUs last seen before ``seen_since`` are left out.
        Raises QueryTooLarge over the limits.
        """
        where, arguments = selection.where(4)
        statement = self._sql["gpus"].format(where=where)
        since = seen_since or EARLIEST
        async with self.session() as connection:
            rows = await connection.fetch(
                statement, since, limits.ask, limits.max_bytes, *arguments
            )
        _check(rows, limits)
        return [Gpu(*row[:-1]) for row in rows]

    async def uuids_near(self, uuid: str, count: int) -> list[str]:
        """The uuids of the ``count`` GPUs before this uuid in order, and of as many after it."""
        if not storable(uuid):
            return []
        async with self.session() as connection:
            rows = await connection.fetch(self._sql["uuids_near"], uuid, count)
        return sorted(row[0] for row in rows)

    async def gpu_exists(self, uuid: str) -> bool:
        """Whether a sample of this GPU has ever landed."""
        if not storable(uuid):
            return False
        async with self.session() as connection:
            return bool(await connection.fetchval(self._sql["gpu_exists"], uuid))

    async def series(
        self,
        connection: Connection,
        selection: Selection,
        start: datetime = EARLIEST,
        end: datetime = LATEST,
        limits: Limits = ANY,
        *,
        rollups: bool = False,
    ) -> dict[int, SeriesLabels]:
        """The labels of the selected series, by id and in order of id.

        Only series of GPUs that were seen between ``start`` and ``end`` are read, and if these are
        over the limits, only those with samples in that time, or, with ``rollups``, with rollups.

        Raises QueryTooLarge if these are over the limits too.
        """
        where, arguments = selection.where(5)
        bounds = start, end, limits.ask, limits.max_bytes
        rows = await connection.fetch(self._series_sql(where, "true"), *bounds, *arguments)
        try:
            _check(rows, limits)
        except QueryTooLarge:
            sampled = self._sql["has_blocks"]
            if rollups:
                sampled = f"coalesce({sampled}, {self._sql['has_rollups']})"
            rows = await connection.fetch(self._series_sql(where, sampled), *bounds, *arguments)
            _check(rows, limits)
        return {row["series_id"]: SeriesLabels(*row[:-1]) for row in rows}

    def _series_sql(self, where: str, sampled: str) -> str:
        return self._sql["series"].format(where=where, sampled=sampled)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """A session of the pool. Each statement sees the store as it is when it begins."""
        try:
            async with self._sessions, store_errors(), self._pool.acquire() as connection:
                yield connection
        except StoreError as error:
            # If the client has gone, its request is being cancelled, which may end the session
            # first. That is no fault of the store, so it is not reported.
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError from error
            raise

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
                self.session() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection
        finally:
            self._streams.release()


def _check(rows: Sequence[asyncpg.Record], limits: Limits) -> None:
    """Raise QueryTooLarge for more rows, or bytes in them, than the limits allow."""
    if rows:
        limits.check_bytes(rows[-1]["so_far"])
    limits.check_series(len(rows))
