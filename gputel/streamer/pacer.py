"""Keep a stream at its rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gputel.backoff import pause

_CATCH_UP_S = 1.0  # a stream that fell behind catches up at most this much


class Pacer:
    """Limits the rate. ``rate`` is rows per second, 0: no limit; ``clock`` is monotonic seconds."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._due = clock()

    def chunk_rows(self, most: int, interval_s: float) -> int:
        """The rows of a chunk, 1 to ``most``, so that chunks are about ``interval_s`` apart."""
        if not self._rate:
            return most
        return max(1, min(most, round(self._rate * interval_s)))

    def delay_after(self, rows: int) -> float:
        """Note that ``rows`` were sent; returns the seconds to wait before the next."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._due = max(self._due, now - _CATCH_UP_S) + rows / self._rate
        return max(0.0, self._due - now)

    async def wait(self, rows: int, stopping: asyncio.Event) -> None:
        """Note that ``rows`` were sent and wait until the next are due, or ``stopping`` is set."""
        await pause(self.delay_after(rows), stopping)
