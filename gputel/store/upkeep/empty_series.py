"""Removes series that have no samples any more, so that a store is not larger than what it keeps.

A collector knows ids of series. It would add samples to one that has been removed, and nobody would
find them. So a removal is counted in its transaction, and keeps those out that are about to commit;
a collector compares the count when it commits, and looks all its series up anew if it is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import asyncpg

from gputel.store.pool import store_errors
from gputel.store.queries import load

_LOOKS = 300_000  # into an index, while collectors wait: less than a second
_SQL = load("empty_series")


@dataclass(frozen=True)
class Extent:
    """The oldest days with samples and with rollups, if there are any, and the newest series."""

    samples: date | None
    rollups: date | None
    newest: int

    def begins_like(self, other: Extent | None) -> bool:
        """Whether no oldest day has been dropped between the two."""
        return other is not None and (self.samples, self.rollups) == (other.samples, other.rollups)


async def extent(connection: asyncpg.Connection) -> Extent:
    """The present extent of the store."""
    async with store_errors():
        return Extent(*await connection.fetchrow(_SQL["extent"]))


async def remove_empty_series(connection: asyncpg.Connection, newest: int) -> int | None:
    """Remove all series up to ``newest`` without samples and rollups; return how many there were.

    A batch of them is a transaction, which waits a second at most for collectors that commit;
    None if that was too short, and some are left. Raises StoreUnavailable or StoreError.
    """
    async with store_errors():
        found = [row[0] for row in await connection.fetch(_SQL["candidates"], newest)]
        days = await connection.fetchval(_SQL["days"])
    removed, at_once = 0, max(100, _LOOKS // max(1, days))
    for first in range(0, len(found), at_once):
        async with store_errors():
            try:
                async with connection.transaction(isolation="read_committed"):
                    await connection.execute("SET LOCAL lock_timeout = '1s'")
                    await connection.execute(_SQL["keep_writers_out"])
                    some = found[first : first + at_once]
                    empty = await connection.fetchval(_SQL["still_empty"], some)
                    removed += await connection.fetchval(_SQL["remove"], empty or [])
            except asyncpg.LockNotAvailableError:
                return None
    return removed
