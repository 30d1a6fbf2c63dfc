"""Waiting for what happens in its own time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg

_POLL_S = 0.05
_ASYNC_POLL_S = 0.02


async def until(check: Callable[[], bool], wait_s: float, what: str) -> None:
    """Wait until ``check()`` is true; ``what`` says what was waited for in vain."""
    deadline = time.monotonic() + wait_s
    while not check():
        assert time.monotonic() < deadline, f"waited {wait_s:g} s for {what}"
        await asyncio.sleep(_POLL_S)


async def eventually(check: Callable[[], Awaitable[object]], wait_s: float = 120) -> None:
    """Wait until the async check is true; a database that is away is not yet."""
    async with asyncio.timeout(wait_s):
        while True:
            try:
                if await check():
                    return
            except (OSError, asyncpg.PostgresError):
                pass
            await asyncio.sleep(_ASYNC_POLL_S)
