"""The embedded Postgres is killed, and so is gputel: every source row lands, and lands once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from gputel.errors import StoreError
from gputel.store.postgres.shared import running_dsn
from tests.helpers.captures import numbers, write_numbered
from tests.helpers.postgres_processes import fetchval, lives, postmaster
from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.waiting import eventually

ROWS = 20_000
KILLS = ("server", "backend", "gputel", "backend", "server", "backend", "gputel", "server")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture
def pipeline(processes: Processes, data_dir: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """The arguments of a gputel that streams a file once."""
    file = write_numbered(tmp_path / "numbered.csv", ROWS)
    ports = ("--api-port", str(free_port()), "--broker-port", str(free_port()))
    source = ("--csv", file, "--no-loop", "--timestamps", "source", "--chunk-lease-s", "1.5")
    pace = ("--rate", "2000", "--chunk-rows", "40", "--visibility-timeout-s", "1.5")
    return ("run", "--role", "all", "--data-dir", data_dir, *ports, *source, *pace)


async def test_rows_land_once_though_postgres_is_killed_again_and_again(
    processes: Processes, data_dir: Path, pipeline: tuple[str | Path, ...]
) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    gputel = processes.start(*pipeline)
    for victim in KILLS:
        await moves_on(gputel, data_dir)
        await asyncio.sleep(chance.uniform(0, 0.5))
        if victim == "gputel":
            gputel.kill()
            gputel = processes.start(*pipeline)
        else:
            kill_postgres(data_dir, chance if victim == "backend" else None)

    async def complete() -> bool:
        return await ask(
            data_dir,
            "SELECT next_row >= row_count AND NOT EXISTS (SELECT FROM stream_lease) "
            "FROM stream_progress",
        )

    await eventually(complete, 180)
    connection = await asyncpg.connect(running_dsn(data_dir))
    assert await numbers(connection) == Counter(range(ROWS))
    await connection.close()
    server = postmaster(data_dir)
    assert await gputel.stop() == 0
    assert not lives(server)


async def moves_on(gputel: Gputel, data_dir: Path) -> None:
    """Wait until more rows have landed than had before."""
    landed = "SELECT next_row - coalesce((SELECT sum(row_count) FROM stream_lease), 0)"
    before = None

    async def more() -> bool:
        nonlocal before
        assert gputel.running, gputel.err
        now = await ask(data_dir, f"{landed} FROM stream_progress")
        before = now if before is None else before
        return now is not None and now > before

    await eventually(more, 60)


def kill_postgres(data_dir: Path, chance: random.Random | None) -> None:
    """Kill the server, or one of its sessions, upon which it ends all others and recovers."""
    server = psutil.Process(postmaster(data_dir))
    sessions = [one.pid for one in server.children() if "gputel gputel" in " ".join(one.cmdline())]
    os.kill(chance.choice(sessions) if chance else server.pid, signal.SIGKILL)


async def ask(data_dir: Path, statement: str) -> Any:
    """The answer; None while the server is away."""
    try:
        return await fetchval(running_dsn(data_dir), statement)
    except (StoreError, asyncpg.InterfaceError, asyncpg.PostgresError, OSError):
        return None
