"""The state of the store: its days, their contents and sizes, and the work that is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import asyncpg

from gputel.store.blocks.blocks import MOST_SAMPLES
from gputel.store.days import day_span
from gputel.store.pool import store_errors
from gputel.store.queries import load

_MOST_BYTES = 64 * 1024 * 1024
_WHOLE = 100.0


@dataclass(frozen=True)
class DayStatus:
    """One partition. Sizes are in bytes; if ``estimated``, all else is from a sample."""

    day: date
    samples: int
    blocks: int
    to_merge: int | None  # blocks that maintenance would merge away; None: unknown
    heap: int
    toast: int
    index: int
    oldest: datetime | None
    newest: datetime | None
    estimated: bool
    expired: bool

    @property
    def total(self) -> int:
        """Bytes on disk."""
        return self.heap + self.toast + self.index


@dataclass(frozen=True)
class StoreStatus:
    """All partitions, oldest first."""

    days: list[DayStatus]
    series: int
    timescaledb: bool
    stale_hours: int
    """Hours whose rollups are not made yet."""
    rollup_bytes: int
    now: datetime

    @property
    def newest(self) -> datetime | None:
        """Time of the newest sample."""
        return max((day.newest for day in self.days if day.newest), default=None)

    @property
    def oldest(self) -> datetime | None:
        """Time of the oldest sample."""
        return min((day.oldest for day in self.days if day.oldest), default=None)


async def store_status(
    pool: asyncpg.Pool,
    retention: timedelta | None = None,
    most_bytes: int = _MOST_BYTES,
) -> StoreStatus:
    """Look at every partition; if its heap is larger than ``most_bytes``, at a sample of that size.

    Raises StoreUnavailable or StoreError.
    """
    sql = load("status")
    async with (
        store_errors(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        store = await connection.fetchrow(sql["store"])
        frames = {row["day"]: row for row in await connection.fetch(sql["frames"])}
        days = []
        for part in await connection.fetch(sql["parts"], most_bytes):
            contents = await connection.fetchrow(
                sql["contents"].format(part=part["name"]), part["percent"], MOST_SAMPLES
            )
            day = _day(part, contents, store["now"], retention)
            days.append(_with_frames(day, frames[day.day]) if day.day in frames else day)
    return StoreStatus(days, **store)


def _day(
    part: asyncpg.Record, contents: asyncpg.Record, now: datetime, retention: timedelta | None
) -> DayStatus:
    whole = part["percent"] == _WHOLE
    end = day_span(part["day"])[1]
    return DayStatus(
        day=part["day"],
        samples=round(contents["samples"] * _WHOLE / part["percent"]),
        blocks=round(contents["blocks"] * _WHOLE / part["percent"]),
        to_merge=contents["to_merge"] if whole else None,
        heap=part["heap"],
        toast=part["toast"],
        index=part["index"],
        oldest=contents["oldest"],
        newest=contents["newest"],
        estimated=not whole,
        expired=retention is not None and end <= now - retention,
    )


def _with_frames(day: DayStatus, frames: asyncpg.Record) -> DayStatus:
    """The day with its frames. They wait to be merged as blocks of their series do."""
    return replace(
        day,
        samples=day.samples + frames["samples"],
        blocks=day.blocks + frames["blocks"],
        to_merge=None if day.to_merge is None else day.to_merge + frames["blocks"],
        heap=day.heap + frames["heap"],
        toast=day.toast + frames["toast"],
        index=day.index + frames["index"],
        oldest=min(filter(None, (day.oldest, frames["oldest"]))),
        newest=max(filter(None, (day.newest, frames["newest"]))),
    )
