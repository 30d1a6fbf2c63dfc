"""gputel is killed while a sender writes to it: each sample lands, and lands once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.senders import SENDERS, Sender, exporting, sending
from tests.helpers.waiting import eventually, until

KILLS = 2

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.parametrize("sender", SENDERS)
async def test_samples_of_a_sender_land_once_though_gputel_is_killed(
    processes: Processes, dsn: str, pool: asyncpg.Pool, tmp_path: Path, sender: Sender
) -> None:
    api, broker = free_port(), free_port()
    ports = ("--api-port", str(api), "--broker-port", str(broker))
    command = ("run", "--role", "broker,collector,api", "--journal", tmp_path / "journal", *ports)

    async def started() -> Gputel:
        process = processes.start(*command, GPUTEL_POSTGRES_DSN=dsn)
        await process.says("ready")
        return process

    async def values() -> list[float]:
        query = "SELECT value FROM telemetry WHERE uuid = 'GPU-0' ORDER BY timestamp"
        return [row["value"] for row in await pool.fetch(query)]

    gputel = await started()
    url = f"http://127.0.0.1:{api}/api/v1/write"
    async with exporting() as (exporter, port), sending(sender(tmp_path, port, url), tmp_path):
        for _ in range(KILLS):
            before = exporter.answers
            await until(lambda: exporter.answers >= before + 10, 120, "scrapes")  # noqa: B023
            gputel.kill()
            killed_at = exporter.answers
            await until(lambda: exporter.answers >= killed_at + 5, 120, "scrapes")  # noqa: B023
            gputel = await started()
        last = exporter.answers

        async def all_are_there() -> bool:
            return set(await values()) >= set(range(1, last + 1))

        await eventually(all_are_there)
        landed = await values()
    assert landed == sorted(landed)
    assert Counter(landed).most_common(1)[0][1] == 1
