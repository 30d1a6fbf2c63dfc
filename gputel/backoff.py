"""The waits between retries: exponential, with jitter, and ended early by a stop."""

from __future__ import annotations

import asyncio
import random


async def pause(seconds: float, stopping: asyncio.Event) -> bool:
    """Sleep for ``seconds`` or until ``stopping`` is set; returns whether it is set."""
    if seconds > 0 and not stopping.is_set():
        try:
            async with asyncio.timeout(seconds):
                await stopping.wait()
        except TimeoutError:
            pass
    return stopping.is_set()


class Backoff:
    """Delays that double from ``first_s`` to ``most_s``; each is cut at random, by half at most."""

    def __init__(self, first_s: float = 0.05, most_s: float = 5.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def reset(self) -> None:
        """Start again from the shortest delay, after a success."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """The next delay in seconds, after a failure."""
        delay_s = self._next_s * random.uniform(0.5, 1)
        self._next_s = min(self._next_s * 2, self._most_s)
        return delay_s

    async def wait(self, stopping: asyncio.Event) -> bool:
        """Sleep for the next delay or until ``stopping`` is set; returns whether it is set."""
        return await pause(self.next_s(), stopping)
