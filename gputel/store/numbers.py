"""The store in a few numbers, for metrics: read now and then, and never by a scrape itself."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import asyncpg

from gputel import metrics
from gputel.errors import StoreError
from gputel.store.pool import store_errors
from gputel.store.queries import load

_EVERY_S = 15.0
_MOST_STREAMS = 100


class StoreNumbers:
    """The numbers at the last look. While Postgres is away they are those from before."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load("status")
        self._bytes: int | None = None
        self._age_s: float | None = None
        self._looked_at = 0.0  # monotonic seconds
        self._rows_left: dict[str, int] = {}

    async def keep(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            with suppress(StoreError):  # whoever needs the store says so
                await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Read the numbers. Raises StoreUnavailable or StoreError."""
        async with store_errors():
            row = await self._pool.fetchrow(self._sql["numbers"])
            left = await self._pool.fetch(self._sql["rows_left"], _MOST_STREAMS)
        self._bytes, self._age_s = row["bytes"], row["newest_age_s"]
        self._looked_at = time.monotonic()
        self._rows_left = {each["stream_id"]: each["rows"] for each in left}

    def read(self) -> metrics.Write:
        """The numbers as metrics."""
        if self._bytes is None:
            return list
        age_s = self._age_s
        if age_s is not None:
            age_s += time.monotonic() - self._looked_at
        return metrics.of_store(self._bytes, age_s, self._rows_left)
