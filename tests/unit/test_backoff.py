"""Waiting between tries doubles, is cut short by a stop, and starts over after a success."""

import asyncio

from gputel import backoff
from gputel.backoff import Backoff, pause


async def test_pause_ends_at_once_when_stopping():
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stopping.set)
    assert await asyncio.wait_for(pause(600, stopping), 60)
    assert await asyncio.wait_for(pause(600, stopping), 60)


async def test_pause_tells_that_nobody_stopped():
    assert not await pause(0.001, asyncio.Event())
    assert not await pause(0, asyncio.Event())


async def test_delays_double_up_to_the_longest_and_start_over(monkeypatch):
    delays = []

    async def note(seconds, stopping):
        delays.append(seconds)
        return False

    monkeypatch.setattr(backoff, "pause", note)
    monkeypatch.setattr(backoff.random, "uniform", lambda low, high: high)  # type: ignore[attr-defined]
    waiting = Backoff(0.1, 0.5)
    for _ in range(5):
        await waiting.wait(asyncio.Event())
    waiting.reset()
    await waiting.wait(asyncio.Event())
    assert delays == [0.1, 0.2, 0.4, 0.5, 0.5, 0.1]
