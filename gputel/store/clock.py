"""What time it is, by two clocks: no sample is lost because one of them is wrong."""

from __future__ import annotations

import logging
import time

import asyncpg

from gputel import metrics
from gputel.store.pool import store_errors

log = logging.getLogger("gputel.store")

_FRESH_S = 60.0  # how long a measurement is used, by the monotonic clock
_MUCH_S = 60.0  # a difference that is logged
_TELL_EVERY_S = 600.0
_MICROSECONDS = 1_000_000
_ASK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class Clocks:
    """The clock of this machine and that of Postgres. Raises StoreUnavailable or StoreError."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._measured: tuple[float, int] | None = None  # monotonic seconds, Postgres' microseconds
        self._told_at: float | None = None

    async def span_us(self) -> tuple[int, int]:
        """The earlier and the later of the two, in Unix microseconds."""
        here_us, there_us = time.time_ns() // 1000, await self._there_us()
        difference_s = (here_us - there_us) / _MICROSECONDS
        metrics.COLLECTOR_CLOCK_DIFFERENCE.set(difference_s)
        if abs(difference_s) > _MUCH_S:
            self._tell(difference_s)
        return min(here_us, there_us), max(here_us, there_us)

    async def _there_us(self) -> int:
        now = time.monotonic()
        if self._measured is None or now - self._measured[0] > _FRESH_S:
            async with store_errors():
                answer: int = await self._pool.fetchval(_ASK)
            self._measured = (now + time.monotonic()) / 2, answer
        at, there_us = self._measured
        return there_us + round((time.monotonic() - at) * _MICROSECONDS)

    def _tell(self, difference_s: float) -> None:
        now = time.monotonic()
        if self._told_at is None or now - self._told_at > _TELL_EVERY_S:
            self._told_at = now
            log.warning(
                "the clock of this machine is %.0f s %s that of Postgres: rows are rejected, and "
                "days dropped, only where both clocks agree; set the wrong one right",
                abs(difference_s),
                "ahead of" if difference_s > 0 else "behind",
            )
