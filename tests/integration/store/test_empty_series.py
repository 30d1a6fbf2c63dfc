"""Series that have lost all their samples go, and no sample goes with them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from gputel.store import queries
from gputel.store.read.reader import Reader
from gputel.store.upkeep.empty_series import remove_empty_series
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.write.writer import Arrival, Writer
from tests.helpers.batches import batch, labels
from tests.helpers.telemetry_rows import Labels, add_block, add_series
from tests.helpers.waiting import eventually

DAY = timedelta(days=1)
PODS = "SELECT array_agg(pod ORDER BY pod) FROM series"
REMOVE = queries.load("empty_series")


def noon(days_ago: int) -> datetime:
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - days_ago * DAY


def pod(name: str, days_ago: int, uuid: str = "GPU-a") -> Arrival:
    rows = [(labels(uuid, pod=name), noon(days_ago), 1.0)]
    return Arrival(f"{name}/{uuid}/{days_ago}", None, batch(rows))


async def pods_in_telemetry(pool: asyncpg.Pool) -> list[str]:
    return [row[0] for row in await pool.fetch("SELECT pod FROM telemetry ORDER BY pod")]


async def everything_removed(pool: asyncpg.Pool) -> int | None:
    async with pool.acquire() as connection:
        return await remove_empty_series(connection, 2**62)


async def test_series_go_after_the_last_day_on_which_they_had_samples(pool: asyncpg.Pool) -> None:
    await Writer(pool).land([pod("long", 5), pod("short", 5), pod("long", 1)])
    await Writer(pool).land([pod("other", 5, "GPU-b")])
    maintenance = Maintenance(pool, retention=2 * DAY)
    work = await maintenance.run()
    assert len(work.dropped_days) == 1
    assert work.removed_series == 0, "a pass later, as a collector may know a new one"
    assert (await maintenance.run()).removed_series == 2
    assert await pool.fetchval(PODS) == ["long"]
    assert [gpu.uuid for gpu in await Reader(pool).gpus()] == ["GPU-a"]
    assert not await Reader(pool).gpu_exists("GPU-b")
    await add_series(pool, Labels("GPU-c", pod="about to come"))
    assert (await maintenance.run()).removed_series == 0, "no day has been dropped since then"


async def test_series_of_which_rollups_are_kept_stay(pool: asyncpg.Pool) -> None:
    await Writer(pool).land([pod("a", 5), pod("b", 1)])
    await Maintenance(pool, 2 * DAY, 10 * DAY).run(everything=True)
    assert await pool.fetchval(PODS) == ["a", "b"]
    work = await Maintenance(pool, 2 * DAY, 3 * DAY).run(everything=True)
    assert work.removed_series == 1
    assert await pool.fetchval(PODS) == ["b"]


async def test_a_collector_that_knows_a_removed_series_makes_it_again(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    await writer.land([pod("a", 5), pod("b", 5), pod("b", 1)])
    await Maintenance(pool, retention=2 * DAY).run(everything=True)
    assert await pool.fetchval(PODS) == ["b"]
    assert await writer.land([pod("a", 0), pod("b", 0), pod("a", 1)]) == [True] * 3
    assert await pods_in_telemetry(pool) == ["a", "a", "b", "b"]
    assert [gpu.uuid for gpu in await Reader(pool).gpus()] == ["GPU-a"]


async def test_a_commit_that_waits_for_a_removal_looks_its_series_up_anew(
    pool: asyncpg.Pool,
) -> None:
    writer = Writer(pool)
    await writer.land([pod("a", 0)])
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass"
    async with pool.acquire() as other, other.transaction():
        await other.execute(REMOVE["keep_writers_out"])
        landing = asyncio.create_task(writer.land([pod("a", 1)]))

        async def waits() -> bool:
            return bool(await pool.fetchval(waiting, "rollup_stale"))

        await eventually(waits)
        (found,) = await other.fetch("SELECT series_id FROM series")
        await other.execute("DELETE FROM sample_block")
        assert await other.fetchval(REMOVE["remove"], [found["series_id"]]) == 1
    assert await landing == [True]
    assert await pods_in_telemetry(pool) == ["a"]


async def test_a_removal_waits_for_the_commit_that_gives_a_series_its_first_sample(
    pool: asyncpg.Pool,
) -> None:
    series_id = await add_series(pool, Labels(pod="a"))
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute("INSERT INTO rollup_stale VALUES (now())")
        assert await everything_removed(pool) is None, "and gives up after a second"
        await add_block(writer, Labels(pod="a"), [noon(0)], [1])
    assert await everything_removed(pool) == 0
    assert await pool.fetchval("SELECT series_id FROM series") == series_id


async def test_no_sample_is_lost_while_collectors_land_and_series_are_removed(
    pool: asyncpg.Pool,
) -> None:
    writers, done = [Writer(pool) for _ in range(2)], asyncio.Event()

    async def land(writer: Writer, number: int) -> None:
        for turn in range(8):
            await writer.land([pod(f"pod-{turn % 7}", turn % 3, f"GPU-{number}-{turn}")])
            await writer.land([pod(f"pod-{turn}", turn % 3, f"GPU-{number}")])

    async def remove() -> int:
        removed = 0
        while not done.is_set():
            await add_series(pool, Labels(pod="never"))
            removed += await everything_removed(pool) or 0
        return removed

    removing = asyncio.create_task(remove())
    await asyncio.gather(*(land(writer, number) for number, writer in enumerate(writers)))
    done.set()
    assert await removing > 0
    assert len(await pods_in_telemetry(pool)) == 32


async def test_a_gpu_whose_newest_series_has_gone_keeps_the_others(pool: asyncpg.Pool) -> None:
    await add_block(pool, Labels(pod="old"), [noon(3)], [1])
    newest = await add_series(pool, Labels(pod="newest"))
    await pool.execute("UPDATE gpu SET series_id = $1", newest)
    assert await everything_removed(pool) == 1
    assert [gpu.uuid for gpu in await Reader(pool).gpus()] == ["GPU-a"]
