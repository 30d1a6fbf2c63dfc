"""A broker with a journal is killed while queues are declared and deleted: what it told holds."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.fleet import ROUNDS
from tests.helpers.processes import Gputel, Processes, free_port


async def declare_and_delete(
    url: str, told: dict[str, bool], numbers: itertools.count[int]
) -> None:
    """Do both until the broker is gone; ``told``: whether the queue of a name must be there."""
    async with aiohttp.ClientSession() as http:
        while True:
            name = f"q{next(numbers)}"
            async with http.put(f"{url}/queues/{name}", data=b'{"ordered_keys":true}') as reply:
                assert reply.status == 200
            told[name] = True
            if random.random() < 0.5:
                del told[name]  # until the answer comes, both may be
                async with http.delete(f"{url}/queues/{name}") as reply:
                    assert reply.status == 200
                told[name] = False


async def ordered(url: str, broker: Gputel) -> dict[str, bool]:
    async with aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{url}/queues") as reply:
                    return {q["name"]: q["ordered_keys"] for q in (await reply.json())["queues"]}
            except aiohttp.ClientError:
                assert broker.running, broker.err
                await asyncio.sleep(0.05)


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_declarations_survive_kill_9(processes: Processes, tmp_path: Path) -> None:
    port, numbers = free_port(), itertools.count()
    url = f"http://127.0.0.1:{port}"
    told: dict[str, bool] = {}
    for last in [False] * 2 * ROUNDS + [True]:
        broker = processes.start(
            *("run", "--role", "broker", "--broker-port", str(port)),
            *(
                "--journal",
                str(tmp_path / "journal"),
                "--queue-create",
                "declared",
                "--max-queues",
                "100000",
            ),
        )
        there = await ordered(url, broker)
        assert {name: name in there for name in told} == told
        assert all(there[name] for name in there if name != "default")
        if not last:
            work = [asyncio.create_task(declare_and_delete(url, told, numbers)) for _ in range(3)]
            before = Counter(told.values())
            while any(Counter(told.values())[kept] < before[kept] + 3 for kept in (True, False)):
                assert not any(task.done() for task in work), broker.err
                await asyncio.sleep(0.02)
            await asyncio.sleep(random.uniform(0, 0.5))
            broker.kill()
            for task in work:
                with pytest.raises(aiohttp.ClientError):
                    await task
