"""Those who wait at a queue: publishers for room, consumers for messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gputel.errors import RequestError
from gputel.mq.core.message import Delivery, Message, State

T = TypeVar("T")

Outcome = State | RequestError | None
"""Of one published message: accepted (None), held already in that state, or refused."""


@dataclass(eq=False)
class Publisher:
    """A publish that waits for room; ``outcomes`` are those of its first messages."""

    messages: Sequence[Message]
    done: asyncio.Future[None]
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(eq=False)
class Consumer:
    """A consume that waits for a message, and its bounds."""

    max_messages: int
    max_bytes: int | None
    visibility_timeout_s: float | None
    done: asyncio.Future[list[Delivery]]


async def wait_for(future: asyncio.Future[T], wait_s: float | None, otherwise: T) -> T:
    """What the future gives within ``wait_s`` (None: whenever), else ``otherwise``."""
    if wait_s is None or future.done():
        return await future
    if wait_s <= 0:
        future.cancel()
        return otherwise
    timer = future.get_loop().call_later(wait_s, resolve, future, otherwise)
    try:
        return await future
    finally:
        timer.cancel()


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Give a future its value, unless it has ended already."""
    if not future.done():
        future.set_result(value)
