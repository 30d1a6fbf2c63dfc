"""Calls of the database that are tried until it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gputel.backoff import Backoff
from gputel.errors import StoreUnavailable
from gputel.outage import Outage

T = TypeVar("T")


async def until_there(
    call: Callable[[], Awaitable[T]], outage: Outage, stopping: asyncio.Event
) -> T | None:
    """What the call gives; None if ``stopping`` was set before the database answered."""
    backoff = Backoff()
    while not stopping.is_set():
        try:
            answer = await call()
        except StoreUnavailable as error:
            outage.begins(error)
            await backoff.wait(stopping)
        else:
            outage.ends()
            return answer
    return None
