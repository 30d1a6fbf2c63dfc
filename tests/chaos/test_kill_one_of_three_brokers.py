"""One of three brokers is killed in the middle: every source row lands, and lands once."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from gputel.mq.client import QueueClient
from tests.helpers.captures import numbers, write_numbered
from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.waiting import eventually

ROWS = 20_000
CHUNK_ROWS = 50

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


class Brokers:
    """Three brokers on ports of their own, started one by one."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._ports = [free_port() for _ in range(3)]
        self.urls = ",".join(f"http://127.0.0.1:{port}" for port in self._ports)
        self.running: dict[int, Gputel] = {}

    async def start(self, number: int) -> None:
        broker = self._processes.start(
            *("run", "--role", "broker", "--broker-port", str(self._ports[number])),
            *("--visibility-timeout-s", "1", "--max-attempts", "1000"),
        )
        self.running[number] = broker
        await broker.says("ready")

    async def holds(self, number: int) -> int:
        """Messages that it holds."""
        async with QueueClient(self.urls.split(",")[number]) as client:
            stats = await client.stats()
            return stats["ready"] + stats["in_flight"]

    def kill(self, number: int) -> None:
        self.running.pop(number).kill()


async def test_one_of_three_brokers_is_killed_for_good_and_another_comes_back(
    processes: Processes, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    file = write_numbered(tmp_path / "numbered.csv", ROWS)
    brokers = Brokers(processes)
    for number in (0, 1):  # the third is added while all are at work
        await brokers.start(number)
    pace = ("--rate", "1000", "--chunk-rows", str(CHUNK_ROWS), "--chunk-lease-s", "3")
    source = ("--csv", file, "--stream-id", "s", "--no-loop", "--timestamps", "source")
    environment = {"GPUTEL_POSTGRES_DSN": dsn, "GPUTEL_BROKER_URL": brokers.urls}
    timeout = ("--visibility-timeout-s", "1")
    roles = [
        processes.start("run", "--role", role, *own, **environment)
        for role, own in [("streamer", source + pace), ("collector", timeout)] * 2
    ]
    await lands(pool, ROWS // 10, roles)
    await brokers.start(2)
    await lands(pool, 3 * ROWS // 10, roles)
    collectors = roles[1::2]
    for collector in collectors:
        collector.send(signal.SIGSTOP)
    while await brokers.holds(0) < 5:
        await asyncio.sleep(0.05)
    brokers.kill(0)
    for collector in collectors:
        collector.send(signal.SIGCONT)
    await lands(pool, 5 * ROWS // 10, roles)
    await asyncio.sleep(chance.uniform(0, 0.5))
    brokers.kill(1)
    await lands(pool, 7 * ROWS // 10, roles)
    await brokers.start(1)

    async def complete() -> bool:
        return await pool.fetchval(
            "SELECT next_row >= row_count AND NOT EXISTS (SELECT FROM stream_lease) "
            "FROM stream_progress"
        )

    await eventually(complete, 150)
    for role in roles:
        assert await role.stop() == 0, role.err
    assert await numbers(pool) == Counter(range(ROWS))
    said = [role.err.count("is away, trying again") for role in roles]
    assert all(1 <= count <= 20 for count in said), said
    for broker in brokers.running.values():
        assert await broker.stop() == 0, broker.err


async def lands(pool: asyncpg.Pool, rows: int, roles: list[Gputel]) -> None:
    """Wait until so many rows are behind the cursor and no longer leased."""

    async def far_enough() -> bool:
        for role in roles:
            assert role.running, role.err
        done = await pool.fetchval(
            "SELECT next_row - coalesce((SELECT sum(row_count) FROM stream_lease), 0) "
            "FROM stream_progress"
        )
        return done is not None and done >= rows

    await eventually(far_enough, 150)
