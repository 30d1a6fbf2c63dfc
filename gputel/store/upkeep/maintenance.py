"""Maintenance: makes days ahead of need, merges days that are over, drops old days.

One process at a time works, under an advisory lock. A day passes through these states:

    growing --frames with 100 samples of a series--> blocks, grows on
       |
       +--100 blocks of a series, of about one size--> merged by tiers, grows on
       |
       +--over for 10 minutes, and nothing new since the last pass--> one block a series, and done
       |
       +--older than the retention--> dropped

First, hours that were written to and have been quiet for two minutes get their rollups. The
rollups of a day are dropped together with the day, or when they exceed their own retention. Series
that have nothing left are removed after that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import asyncpg

from gputel import metrics
from gputel.store.days import day_span
from gputel.store.pool import DATABASE_ERRORS, store_errors
from gputel.store.queries import load
from gputel.store.rollup.build import roll_up
from gputel.store.upkeep.empty_series import Extent, extent, remove_empty_series
from gputel.store.upkeep.merge import FINAL, GROWING, Merged, merge_day, merge_frames
from gputel.store.write.recent_landings import prune_landings

log = logging.getLogger("gputel.store")

_SETTLE = timedelta(minutes=10)
_FRAME_SAMPLES = 100  # of each series, before its frames become blocks
_POLL_S = 0.5
# While this waits for a lock on a partition, readers of the partition wait as well.
_LOCK_TIMEOUT = "SET lock_timeout = '1s'"
_SQL = load("maintenance") | load("rollup")


@dataclass(frozen=True)
class Work:
    """What a pass did."""

    merged: Merged = field(default_factory=Merged)
    merged_days: tuple[date, ...] = ()
    dropped_days: tuple[date, ...] = ()
    removed_series: int = 0
    rolled_up_hours: int = 0
    postponed: tuple[str, ...] = ()
    """Work that readers prevented; the next pass tries it again."""


@dataclass(frozen=True)
class _DayTable:
    name: str
    day: date
    now: datetime
    inserted: int
    live: int

    def ended(self, ago: timedelta) -> bool:
        """Whether the day ended at least ``ago`` ago."""
        return _ended(self.day, ago, self.now)


@dataclass(frozen=True)
class _Seen:
    """What the last pass knew of a partition."""

    inserted: int
    merged_at: int = 0  # its insertions when its tiers were last looked at
    done: bool = False


@asynccontextmanager
async def sole(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection | None]:
    """A connection that alone may change what has landed; None if another process has it.

    Raises StoreUnavailable or StoreError.
    """
    async with store_errors(), pool.acquire() as connection:
        if not await connection.fetchval(_SQL["try_lock"]):
            yield None
            return
        try:
            yield connection
        finally:
            # A session that has ended has lost its lock as well, and why has been raised.
            with suppress(*DATABASE_ERRORS):
                await connection.execute(_SQL["unlock"])


@asynccontextmanager
async def sole_in_turn(
    pool: asyncpg.Pool, say_waiting: Callable[[], None]
) -> AsyncIterator[asyncpg.Connection]:
    """The connection of ``sole`` as soon as no other process has it; says once that it waits."""
    waiting = False
    while True:
        async with sole(pool) as connection:
            if connection is not None:
                yield connection
                return
        if not waiting:
            say_waiting()
            waiting = True
        await asyncio.sleep(_POLL_S)


class Maintenance:
    """Passes over all partitions. Raises StoreUnavailable or StoreError."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        retention: timedelta | None = None,
        rollup_retention: timedelta | None = None,
    ) -> None:
        self._pool = pool
        self._retention = retention
        self._rollup_retention = rollup_retention or retention
        self._seen: dict[str, _Seen] = {}
        self._framed: dict[date, int] = {}  # the frames that the last pass left of each day
        self._extent: Extent | None = None  # as it was when days were dropped
        self._emptied: Extent | None = None  # as it was when empty series were removed

    async def run(self, *, everything: bool = False) -> Work | None:
        """One pass: the work that is due, or with ``everything`` all work, also of present days.

        None if another process is doing it.
        """
        async with sole(self._pool) as connection:
            if connection is None:
                return None
            return await self.work(connection, everything=everything)

    async def work(self, connection: asyncpg.Connection, *, everything: bool = False) -> Work:
        """The same on a connection of ``sole``."""
        async with store_errors():
            await connection.execute(_SQL["ensure_tomorrow"])
            await prune_landings(connection)
        work = await self._roll_up(connection, everything=everything)
        work = await self._drop_old(connection, work)
        work = await self._drop_old_rollups(connection, work)
        work = await self._remove_empty_series(connection, work, everything=everything)
        work = await self._merge_frames(connection, work)
        for part in await self._parts(connection):
            work = await self._look_at(connection, part, work, everything=everything)
        return work

    async def _parts(self, connection: asyncpg.Connection) -> list[_DayTable]:
        async with store_errors():
            return [_DayTable(*row) for row in await connection.fetch(_SQL["parts"])]

    async def _roll_up(self, connection: asyncpg.Connection, *, everything: bool) -> Work:
        if self._retention is not None:  # the last chance of days that are about to be dropped
            parts = await self._parts(connection)
            everything = everything or any(part.ended(self._retention) for part in parts)
        hours = await roll_up(connection, everything=everything)
        metrics.COLLECTOR_HOURS_ROLLED_UP.inc(hours)
        return Work(rolled_up_hours=hours)

    async def _drop_old(self, connection: asyncpg.Connection, work: Work) -> Work:
        if self._retention is None:
            return work
        async with store_errors():
            await connection.execute(_SQL["set_retention"], self._retention)
            await connection.execute(_SQL["drop_ends"])
        for part in await self._parts(connection):
            if not part.ended(self._retention) or not _agreed(part.day, self._retention):
                continue
            if await self._in_short_lock(connection, _SQL["drop_day"], part.day):
                metrics.COLLECTOR_DAYS_DROPPED.inc()
                log.info("dropped %s, which is older than the retention", part.day)
                self._seen.pop(part.name, None)
                work = replace(work, dropped_days=(*work.dropped_days, part.day))
            else:
                work = replace(work, postponed=(*work.postponed, f"drop of {part.day}"))
        return work

    async def _drop_old_rollups(self, connection: asyncpg.Connection, work: Work) -> Work:
        """Drop old rollups, unless samples of their day are kept: no rollup means no sample."""
        if self._rollup_retention is None:
            return work
        kept = {part.day for part in await self._parts(connection)}
        async with store_errors():
            days = await connection.fetch(_SQL["days"])
        for day, now in days:
            if day in kept or not _ended(day, self._rollup_retention, now):
                continue
            if not _agreed(day, self._rollup_retention):
                continue
            if not await self._in_short_lock(connection, _SQL["drop_rollup_day"], day):
                work = replace(work, postponed=(*work.postponed, f"drop of the rollups of {day}"))
        return work

    async def _remove_empty_series(
        self, connection: asyncpg.Connection, work: Work, *, everything: bool
    ) -> Work:
        """Remove series without samples, in the pass after the one that dropped days.

        A pass later, since the newest series may be about to get their first samples.
        """
        now = await extent(connection)
        if now.begins_like(self._emptied) and not everything:
            return work
        if not now.begins_like(self._extent):
            self._extent = now
            if not everything:
                return work
        newest = now.newest if everything or self._extent is None else self._extent.newest
        removed = await remove_empty_series(connection, newest)
        if removed is None:
            return replace(work, postponed=(*work.postponed, "removal of series without samples"))
        self._emptied = now
        if removed:
            log.info("removed %d series that have no samples any more", removed)
        return replace(work, removed_series=removed)

    async def _merge_frames(self, connection: asyncpg.Connection, work: Work) -> Work:
        """Make blocks of frames: of lists that have many, or if their day is over, of all."""
        async with store_errors():
            days = await connection.fetch(_SQL["framed_days"])
        seen, self._framed = self._framed, {}
        for day, frames, now in days:
            over = _ended(day, _SETTLE, now) and seen.get(day) == frames
            merged = await merge_frames(connection, day, 1 if over else _FRAME_SAMPLES)
            self._framed[day] = frames - merged.blocks_before
            work = _with_merged(work, day, merged)
        if sum(frames for _, frames, _ in days) > sum(self._framed.values()):
            await self._vacuum(connection, "sample_frame")
        return work

    async def _look_at(
        self, connection: asyncpg.Connection, part: _DayTable, work: Work, *, everything: bool
    ) -> Work:
        seen = self._seen.get(part.name, _Seen(-1))
        quiet = part.inserted == seen.inserted
        if everything or (quiet and not seen.done and part.ended(_SETTLE)):
            merged = await merge_day(connection, part.day, FINAL)
            tight = await self._tighten(connection, part, merged)
            seen = replace(seen, inserted=part.inserted, done=tight)
            if not tight:
                work = replace(work, postponed=(*work.postponed, f"packing of {part.day}"))
        elif not quiet and part.inserted - seen.merged_at >= part.live / 4:
            merged = Merged()
            for tier in GROWING:
                merged += await merge_day(connection, part.day, tier)
            if merged.blocks_before:
                await self._vacuum(connection, part.name)
            seen = _Seen(part.inserted, merged_at=part.inserted)
        else:
            self._seen[part.name] = replace(seen, inserted=part.inserted, done=seen.done and quiet)
            return work
        self._seen[part.name] = seen
        return _with_merged(work, part.day, merged)

    async def _tighten(
        self, connection: asyncpg.Connection, part: _DayTable, merged: Merged
    ) -> bool:
        """Free the space of merged blocks; False if readers prevented it."""
        if merged.blocks_before:
            await self._vacuum(connection, part.name)
        removed = merged.blocks_before - merged.blocks_after
        async with store_errors():
            if not await connection.fetchval(_SQL["roomy"], part.name, removed):
                return True
        return await self._in_short_lock(connection, f"VACUUM (FULL, ANALYZE) {part.name}")

    async def _vacuum(self, connection: asyncpg.Connection, table: str) -> None:
        async with store_errors():
            await connection.execute(f"VACUUM (ANALYZE) {table}")

    async def _in_short_lock(
        self, connection: asyncpg.Connection, statement: str, *arguments: object
    ) -> bool:
        """Run a statement that locks others out; False if it does not get the lock soon."""
        async with store_errors():
            await connection.execute(_LOCK_TIMEOUT)
            try:
                await connection.execute(statement, *arguments)
            except asyncpg.LockNotAvailableError:
                return False
            finally:
                await connection.execute("RESET lock_timeout")
        return True


def _with_merged(work: Work, day: date, merged: Merged) -> Work:
    if not merged.blocks_before:
        return work
    metrics.COLLECTOR_BLOCKS_MERGED.inc(merged.blocks_before)
    days = work.merged_days if day in work.merged_days else (*work.merged_days, day)
    return replace(work, merged=work.merged + merged, merged_days=days)


def _agreed(day: date, ago: timedelta) -> bool:
    """Whether this machine's clock agrees: one wrong clock must not delete data."""
    if _ended(day, ago, datetime.now(UTC)):
        return True
    log.warning("%s is kept: only the clock of Postgres says that it is too old", day)
    return False


def _ended(day: date, ago: timedelta, now: datetime) -> bool:
    return day_span(day)[1] + ago <= now
