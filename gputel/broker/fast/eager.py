"""Runs a coroutine at once until it first waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


def start(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None] | None:
    """Run ``work`` until it first waits. Returns a task for the rest, or None when it has ended.

    Most requests never wait, and a task costs a turn of the event loop. Until it waits, the work
    is not in a task. Cancel the task with ``call_soon`` only: if a task is cancelled before its
    first step, the work does not get the CancelledError.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return loop.create_task(_go_on(_Rest(work, waits_for)))


async def _go_on(rest: _Rest) -> None:
    await rest


class _Rest:
    """The rest of a coroutine that has run until its first wait."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    came = yield waits_for
                except BaseException as error:
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(came)
        except StopIteration:
            return
