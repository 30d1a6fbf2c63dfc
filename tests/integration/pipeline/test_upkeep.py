"""The collector's passes over the store go on beside its work, and end with it."""

from __future__ import annotations

import asyncio

import asyncpg

from gputel.collector.upkeep import maintain
from gputel.config.settings import CollectorSettings
from gputel.store.upkeep.maintenance import Maintenance
from tests.helpers.batches import NOON
from tests.helpers.telemetry_rows import Labels, add_block, every
from tests.helpers.waiting import eventually

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
BLOCKS = "SELECT count(*) FROM sample_block"


async def test_passes_go_on_until_the_collector_stops(pool: asyncpg.Pool) -> None:
    stopping = asyncio.Event()
    settings = CollectorSettings(maintenance_interval_s=0.01)
    task = asyncio.create_task(maintain(settings, Maintenance(pool), stopping))
    for _ in range(2):
        for second in range(3):
            await add_block(pool, Labels(), every(NOON, 1, second + 1), [0] * (second + 1))

        async def merged() -> bool:
            return await pool.fetchval(BLOCKS) == 1

        await eventually(merged)
    stopping.set()
    await task
    assert await pool.fetchval(LOCKS) == 0


async def test_a_stop_cuts_a_pass_off_and_leaves_no_lock(pool: asyncpg.Pool) -> None:
    stopping = asyncio.Event()
    settings = CollectorSettings(maintenance_interval_s=0.01)
    async with pool.acquire() as connection, connection.transaction():
        await add_block(pool, Labels(), every(NOON, 1, 3), [1, 2, 3])
        await add_block(pool, Labels(), every(NOON, 1, 3), [1, 2, 3])
        await connection.execute("SELECT FROM sample_block FOR UPDATE")  # a merge has to wait
        task = asyncio.create_task(maintain(settings, Maintenance(pool), stopping))

        async def waits() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually(waits)
        stopping.set()
        await task
    assert await pool.fetchval(LOCKS) == 0
    assert await pool.fetchval(BLOCKS) == 2


async def test_no_interval_leaves_maintenance_to_others(pool: asyncpg.Pool) -> None:
    for _ in range(2):
        await add_block(pool, Labels(), every(NOON, 1, 3), [1, 2, 3])
    settings = CollectorSettings(maintenance_interval_s=0)
    maintenance = Maintenance(pool)
    await maintain(settings, maintenance, asyncio.Event())  # ends by itself
    assert await pool.fetchval(BLOCKS) == 2
    for _ in range(2):  # a day is merged once nothing has come since the last pass
        await maintenance.run()
    assert await pool.fetchval(BLOCKS) == 1, "there was something to do"
