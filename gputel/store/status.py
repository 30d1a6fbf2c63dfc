"""How the store is: its days, what is in them, what they take, and what is still to be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import asyncpg

from gputel.store.blocks.blocks import MOST_SAMPLES
from gputel.store.pool import store_errors
from gputel.store.queries import load

_MOST_BYTES = 64 * 1024 * 1024
_WHOLE = 100.0


@dataclass(frozen=True)
class DayStatus:
    """One partition. Sizes in bytes; with ``estimated``, all else is told from a part of it."""

    day: date
    samples: int
    blocks: int
    to_merge: int | None  # blocks that maintenance would do away with; None: not known
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
    """All of them, oldest first."""

    days: list[DayStatus]
    series: int
    timescaledb: bool
    stale_hours: int
    """Hours whose rollups are still to be made."""
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
    """Look at every partition; of a heap beyond ``most_bytes``, at that much of it.

    Raises StoreUnavailable or StoreError.
    """
    sql = load("status")
    async with (
        store_errors(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        store = await connection.fetchrow(sql["store"])
        days = []
        for part in await connection.fetch(sql["parts"], most_bytes):
            contents = await connection.fetchrow(
                sql["contents"].format(part=part["name"]), part["percent"], MOST_SAMPLES
            )
            days.append(_day(part, contents, store["now"], retention))
    return StoreStatus(days, **store)


def _day(
    part: asyncpg.Record, contents: asyncpg.Record, now: datetime, retention: timedelta | None
) -> DayStatus:
    whole = part["percent"] == _WHOLE
    end = datetime.combine(part["day"], time(), UTC) + timedelta(days=1)
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
