"""Coroutines that run at once until they wait."""

import asyncio

import pytest

from gputel.broker.fast.eager import start


async def test_what_never_waits_is_done_at_once() -> None:
    done = []

    async def work() -> None:
        done.append(1)

    assert start(work(), asyncio.get_running_loop()) is None
    assert done == [1]


async def test_what_waits_goes_on_in_a_task_and_gets_what_it_waits_for() -> None:
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    came = []

    async def work() -> None:
        came.append(await first)
        await asyncio.sleep(0)
        came.append(await second)

    task = start(work(), loop)
    assert task is not None
    first.set_result("a")
    second.set_result("b")
    await task
    assert came == ["a", "b"]


async def test_errors_of_what_it_waits_for_reach_the_work_and_its_own_the_task() -> None:
    loop = asyncio.get_running_loop()
    waits_for = loop.create_future()

    async def work() -> None:
        try:
            await waits_for
        except OSError:
            raise ValueError("from the work") from None

    task = start(work(), loop)
    assert task is not None
    waits_for.set_exception(OSError())
    with pytest.raises(ValueError, match="from the work"):
        await task


async def test_work_cancelled_before_the_task_ran_still_ends_in_order() -> None:
    loop = asyncio.get_running_loop()
    ended = []

    async def work() -> None:
        try:
            await loop.create_future()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    task = start(work(), loop)
    assert task is not None
    loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1]


async def test_an_error_before_it_waits_is_raised_at_once() -> None:
    async def work() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        start(work(), asyncio.get_running_loop())
