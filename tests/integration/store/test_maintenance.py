"""What a pass over the partitions does, and what it leaves alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from gputel import metrics
from gputel.errors import StoreUnavailable
from gputel.store.read.reader import Reader
from gputel.store.upkeep.maintenance import Maintenance, Work
from gputel.store.write.admission import Admission
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from tests.helpers.batches import batch, labels, steady
from tests.helpers.telemetry_rows import Labels, add_block, every
from tests.helpers.waiting import eventually

DAY = timedelta(days=1)
BLOCKS = "SELECT count(*) FROM sample_block"


def at(days_ago: int, hour: int = 12) -> datetime:
    """An hour of a day before today, UTC."""
    return datetime.now(UTC).replace(hour=hour, minute=0, second=0, microsecond=0) - days_ago * DAY


async def days(pool: asyncpg.Pool) -> list[date]:
    return [row["day"] for row in await pool.fetch("SELECT day FROM sample_block_part ORDER BY 1")]


async def add_small_blocks(pool: asyncpg.Pool, start: datetime, count: int = 5) -> None:
    for minute in range(count):
        await add_block(pool, Labels(), every(start + timedelta(minutes=minute), 1, 3), [1, 2, 3])


def loose(name: str, rows: object) -> Arrival:
    return Arrival(name, None, rows)


def rejected(reason: str) -> float:
    return metrics.COLLECTOR_ROWS_REJECTED.labels(reason=reason)._value.get()


async def test_a_day_that_is_over_and_quiet_becomes_one_block_a_series(pool: asyncpg.Pool) -> None:
    await add_small_blocks(pool, at(2))
    maintenance = Maintenance(pool)
    await maintenance.run()
    assert await pool.fetchval(BLOCKS) == 5, (
        "it was written to since the last pass, or may have been"
    )

    async def merged() -> bool:
        await maintenance.run()
        return await pool.fetchval(BLOCKS) == 1

    await eventually(merged)
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 15
    await add_block(pool, Labels(), [at(2, 3)], [9])
    assert await pool.fetchval(BLOCKS) == 2, "late data land beside what was merged"
    await eventually(merged)
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 16


async def test_today_is_left_to_grow_and_merged_when_everything_is_asked_for(
    pool: asyncpg.Pool,
) -> None:
    today = at(0, 0)
    for second in range(5):
        await add_block(pool, Labels(), [today + timedelta(seconds=second)], [1])
    maintenance = Maintenance(pool)
    for _ in range(3):
        assert (await maintenance.run()).merged.blocks_before == 0
    work = await maintenance.run(everything=True)
    assert (work.merged.blocks_before, work.merged.blocks_after) == (5, 1)
    assert work.merged_days == (today.date(),)
    assert await maintenance.run(everything=True) == Work()


async def test_hundreds_of_commits_of_a_growing_day_are_merged(pool: asyncpg.Pool) -> None:
    today = at(0, 0)
    for second in range(120):
        await add_block(pool, Labels(), [today + timedelta(seconds=second)], [1])
    maintenance = Maintenance(pool)

    async def merged() -> bool:
        await maintenance.run()
        return await pool.fetchval(BLOCKS) == 1

    await eventually(merged)


async def test_one_process_at_a_time_maintains(pool: asyncpg.Pool) -> None:
    await add_small_blocks(pool, at(2))
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock(hashtext('gputel.maintenance'))")
        assert await Maintenance(pool).run(everything=True) is None
    assert await pool.fetchval(BLOCKS) == 5
    found = await asyncio.gather(*(Maintenance(pool).run(everything=True) for _ in range(4)))
    assert sum(work.merged.blocks_before for work in found if work) == 5


async def test_the_partition_of_tomorrow_is_made_today(pool: asyncpg.Pool) -> None:
    if await pool.fetchval("SELECT relkind <> 'p' FROM pg_class WHERE relname = 'sample_block'"):
        pytest.skip("TimescaleDB makes its chunks itself")
    await Maintenance(pool).run()
    assert await days(pool) == [at(-1).date()]


async def test_space_of_merged_blocks_is_given_back(pool: asyncpg.Pool) -> None:
    await pool.execute("SELECT ensure_sample_block_day($1)", at(2).date())
    await pool.execute(
        "INSERT INTO sample_block SELECT 1, t, t, 0, 1, NULL, '{1}' "
        "FROM generate_series(0, 49999) AS n, LATERAL (SELECT $1::timestamptz + n * interval '1 s')"
        " AS moment (t)",
        at(2, 0),
    )
    size = "SELECT sum(pg_total_relation_size(part)) FROM sample_block_part WHERE day = $1"
    before = await pool.fetchval(size, at(2).date())
    await Maintenance(pool).run(everything=True)
    assert await pool.fetchval(size, at(2).date()) < before / 50


async def test_days_older_than_the_retention_are_dropped_whole(pool: asyncpg.Pool) -> None:
    for days_ago in (9, 4, 3, 2, 1):
        await add_block(pool, Labels(), [at(days_ago, 0), at(days_ago, 23)], [days_ago, days_ago])
    work = await Maintenance(pool, 3 * DAY).run()
    assert work.dropped_days == (at(9).date(), at(4).date())
    (gpu,) = await Reader(pool).gpus()
    assert (gpu.first_seen, gpu.last_seen) == (at(3, 0), at(1, 23))
    assert (await Maintenance(pool, 3 * DAY).run()).dropped_days == ()


async def test_a_drop_waits_for_the_next_pass_while_someone_reads(pool: asyncpg.Pool) -> None:
    await add_small_blocks(pool, at(9))
    maintenance = Maintenance(pool, DAY)
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch("SELECT * FROM sample_block")
        work = await maintenance.run()
        assert (work.dropped_days, len(work.postponed)) == ((), 1)
    assert (await maintenance.run()).dropped_days == (at(9).date(),)


async def test_samples_of_dropped_days_and_of_a_far_future_are_rejected_and_counted(
    pool: asyncpg.Pool,
) -> None:
    streams = Streams(pool, "s", "owner")
    await streams.register("f", "x.csv", looping=False)
    lease = await streams.reserve(10, 60)
    now = datetime.now(UTC)
    times = [at(9), at(4, 23), at(3, 0), now, now + 0.9 * DAY, now + 1.1 * DAY, at(-400)]
    rows = batch([(labels(), time, float(n)) for n, time in enumerate(times)])
    before = rejected("expired"), rejected("future")
    writer = Writer(pool, Admission(3 * DAY, DAY))
    assert await writer.land([Arrival("s/0", Chunk("s", lease.first_row, 1), rows)]) == [True]
    found = await pool.fetch("SELECT value FROM telemetry ORDER BY 1")
    assert [row[0] for row in found] == [2, 3, 4]
    assert (rejected("expired") - before[0], rejected("future") - before[1]) == (2, 2)
    assert (await streams.progress()).rejected_rows == 5
    assert min(await days(pool)) == at(3).date()
    assert await pool.fetchval("SELECT first_ts FROM gpu") == at(3, 0)


async def test_without_rules_any_time_lands(pool: asyncpg.Pool) -> None:
    times = [datetime(1980, 1, 1, tzinfo=UTC), datetime(2150, 1, 1, tzinfo=UTC)]
    rows = batch([(labels(), time, 1.0) for time in times])
    await Writer(pool).land([loose("1", rows)])
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 2


async def test_a_writer_whose_day_was_dropped_makes_it_again(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    await writer.land([loose("1", steady(3, start=at(9)))])
    await Maintenance(pool, DAY).run()
    late = loose("2", steady(3, start=at(9)))
    for _ in range(2):
        try:
            assert await writer.land([late]) == [True]
            break
        except StoreUnavailable:
            continue
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 3


async def test_collectors_at_once_make_drop_and_merge_partitions_without_a_loss(
    pool: asyncpg.Pool,
) -> None:
    landing = True

    async def land(writer: Writer, number: int) -> None:
        rows = [(labels(f"GPU-{number}"), at(days_ago), 1.0) for days_ago in range(1, 15)]
        arrival = loose(str(number), batch(rows))
        while True:
            try:
                await writer.land([arrival])
                return
            except StoreUnavailable:
                continue

    async def keep(maintenance: Maintenance, *, everything: bool) -> None:
        while landing:
            await maintenance.run(everything=everything)
            await asyncio.sleep(0)

    upkeep = [
        asyncio.create_task(keep(Maintenance(pool, 7 * DAY), everything=False)),
        asyncio.create_task(keep(Maintenance(pool), everything=True)),
    ]
    writers = [Writer(pool) for _ in range(4)]
    for first in range(0, 40, 4):
        await asyncio.gather(*(land(writer, first + n) for n, writer in enumerate(writers)))
    landing = False
    await asyncio.gather(*upkeep)
    await Maintenance(pool, 7 * DAY).run()
    found = await pool.fetch("SELECT timestamp, count(*) AS rows FROM telemetry GROUP BY 1")
    assert {row["timestamp"]: row["rows"] for row in found} == {at(n): 40 for n in range(1, 8)}


async def test_a_hypertable_has_a_retention_policy_of_the_same_length(pool: asyncpg.Pool) -> None:
    if await pool.fetchval("SELECT relkind = 'p' FROM pg_class WHERE relname = 'sample_block'"):
        pytest.skip("needs TimescaleDB")
    policies = (
        "SELECT (config ->> 'drop_after')::interval FROM timescaledb_information.jobs "
        "WHERE hypertable_name = 'sample_block' AND proc_name = 'policy_retention'"
    )
    for kept in (3 * DAY, 3 * DAY, 5 * DAY):
        await Maintenance(pool, kept).run()
        assert [row[0] for row in await pool.fetch(policies)] == [kept]


async def test_the_partition_of_a_day_is_found_among_tables_of_any_name(pool: asyncpg.Pool) -> None:
    await add_block(pool, Labels(), [at(1)], [1])
    await Maintenance(pool).run(everything=True)
    async with pool.acquire() as connection:
        await connection.execute("CREATE TABLE others_named_last_1 ()")
        for join in ("nestloop", "mergejoin"):  # so that the condition comes before the join
            await connection.execute(f"SET enable_{join} = off")
        for view in ("sample_block_part", "rollup_part"):
            found = await connection.fetch(f"SELECT day FROM {view} WHERE day = $1", at(1).date())
            assert [row["day"] for row in found] == [at(1).date()]
        await connection.execute("RESET ALL")


async def test_pass_whose_session_is_ended_says_so(pool: asyncpg.Pool, dsn: str) -> None:
    await add_small_blocks(pool, at(2))
    locker = await asyncpg.connect(dsn)
    async with locker.transaction():
        await locker.execute("LOCK TABLE sample_block")
        work = asyncio.create_task(Maintenance(pool).run(everything=True))

        async def ended() -> bool:
            return await pool.fetchval(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )

        await eventually(ended)
        with pytest.raises(StoreUnavailable, match="due to administrator command"):
            await work
    await locker.close()
    done = await Maintenance(pool).run(everything=True)
    assert done is not None
    assert done.merged.blocks_before == 5
