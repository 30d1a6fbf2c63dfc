"""Answers by step are those of the samples, whoever writes, merges, dies or drops meanwhile."""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, product

import asyncpg
import pytest

from gputel.config.settings import PostgresSettings
from gputel.errors import StoreUnavailable
from gputel.store.migrations import known_migrations, migrate
from gputel.store.pool import close_pool, open_pool
from gputel.store.read.reader import EARLIEST, LATEST, Reader
from gputel.store.read.records import Record
from gputel.store.read.selection import of_gpu
from gputel.store.read.telemetry import TelemetryQuery
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.build import roll_up
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.upkeep.merge import FINAL, merge_day
from gputel.store.write.writer import Arrival, Writer
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.waiting import eventually

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
STEPS_S = (7, 60, 3600, 7200)
STALE = "SELECT DISTINCT hour FROM rollup_stale ORDER BY 1"
ROLLUPS = "SELECT count(*) FROM rollup"
WAITING = (
    "FROM pg_locks WHERE NOT granted AND relation = 'rollup'::regclass AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)
Range = tuple[datetime | None, datetime | None]
ALL: Range = (None, None)


def message(number: int, start: datetime = NOON, hours: float = 30, rows: int = 120) -> Arrival:
    """Rows of two GPUs, late ones and ones of equal times among them."""
    rng = random.Random(number)
    found = []
    for _ in range(rows):
        when = start + timedelta(seconds=rng.randrange(round(hours * 3600)))
        value = rng.choice([float(rng.randrange(100)), rng.random(), math.nan, math.inf, -0.0])
        found.append((labels(rng.choice(["GPU-a", "GPU-b"]), rng.choice("TP")), when, value))
    return Arrival(str(number), None, batch(found))


async def ask(
    pool: asyncpg.Pool, steps: StepQuery, span: Range = ALL, limit: int = 0
) -> list[Record]:
    found: list[Record] = []
    start, end = span[0] or EARLIEST, span[1] or LATEST
    asked = TelemetryQuery(of_gpu("GPU-a"), start, end, limit=limit or None)
    pieces = telemetry_by_step(Reader(pool), asked, steps)
    async with aclosing(pieces):
        async for records in pieces:
            found += records
    return found


def comparable(records: list[Record]) -> list[object]:
    """NaN equals itself."""
    return [(r.timestamp, r.metric_name, r.uuid, repr(r.value)) for r in records]


async def assert_right(pool: asyncpg.Pool, *spans: Range) -> None:
    """Rollups say what samples say, and samples what a loop over the flat view says."""
    for place, (span, step_s, aggregate) in enumerate(product(spans or (ALL,), STEPS_S, Aggregate)):
        if place >= len(STEPS_S) * len(Aggregate) and aggregate is not Aggregate.AVG:
            continue  # of further ranges the one that needs two columns
        found = await ask(pool, StepQuery(step_s * 1_000_000, aggregate), span)
        raw = await ask(pool, StepQuery(step_s * 1_000_000, aggregate, use_rollups=False), span)
        assert comparable(found) == comparable(raw), (span, step_s, aggregate)
    for span, step_s in product(spans or (ALL,), STEPS_S):
        counts = await ask(pool, StepQuery(step_s * 1_000_000, Aggregate.COUNT), span)
        assert {(r.metric_name, r.timestamp): r.value for r in counts} == (
            await counted(pool, step_s, span)
        )


async def counted(pool: asyncpg.Pool, step_s: int, span: Range) -> dict[object, int]:
    rows = await pool.fetch(
        "SELECT DISTINCT metric_name, timestamp FROM telemetry "
        "WHERE uuid = 'GPU-a' AND timestamp >= $1 AND timestamp <= $2",
        span[0] or datetime(1990, 1, 1, tzinfo=UTC),
        span[1] or datetime(2090, 1, 1, tzinfo=UTC),
    )
    found: dict[object, int] = defaultdict(int)
    for metric, when in rows:
        start_s = when.timestamp() // step_s * step_s
        found[metric, datetime.fromtimestamp(start_s, UTC)] += 1
    return found


async def make(pool: asyncpg.Pool) -> int:
    async with pool.acquire() as connection:
        return await roll_up(connection, everything=True)


@pytest.mark.parametrize("seed", range(3))
async def test_answers_are_those_of_the_samples(pool: asyncpg.Pool, seed: int) -> None:
    writer = Writer(pool)
    for number in range(6):
        await writer.land([message(100 * seed + number)])
    rng = random.Random(seed)
    spans: list[Range] = [ALL]
    for _ in range(4):
        start = NOON + rng.random() * 20 * HOUR
        spans.append((start, start + rng.choice([0.01, 1, 5, 40]) * HOUR))
    await assert_right(pool, *spans[:2])
    assert await make(pool) == len(await hours_of(pool))
    assert await pool.fetch(STALE) == []
    await assert_right(pool, *spans)


async def hours_of(pool: asyncpg.Pool) -> list[datetime]:
    rows = await pool.fetch("SELECT DISTINCT date_trunc('hour', timestamp, 'UTC') FROM telemetry")
    return [row[0] for row in rows]


async def test_rollups_are_read_where_they_are_right(pool: asyncpg.Pool) -> None:
    await Writer(pool).land([message(1)])
    await make(pool)
    before = await ask(pool, StepQuery(3_600_000_000, Aggregate.COUNT))
    await pool.execute("DELETE FROM sample_block")
    assert await ask(pool, StepQuery(3_600_000_000, Aggregate.COUNT)) == before
    assert await ask(pool, StepQuery(7_000_000, Aggregate.COUNT)) == []


async def test_late_data_and_copies_of_a_message_are_counted_once(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    await writer.land([message(1)])
    await make(pool)
    assert await writer.land([message(1)]) == [False]
    assert await pool.fetch(STALE) == []
    late = message(2, NOON + 3 * HOUR, hours=1)
    assert await writer.land([late, message(1)]) == [True, False]
    assert [row[0] for row in await pool.fetch(STALE)] == [NOON + 3 * HOUR]
    await assert_right(pool)
    assert await make(pool) == 1
    await assert_right(pool)


async def test_rollups_stay_right_when_blocks_are_merged(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    for number in range(8):
        await writer.land([message(number)])
        if number % 3 == 0:
            await make(pool)
    async with pool.acquire() as connection:
        for day in (NOON.date(), (NOON + DAY).date()):
            await merge_day(connection, day, FINAL)
    await assert_right(pool)
    await writer.land([message(9)])
    await make(pool)
    await assert_right(pool)


async def test_limit_counts_buckets_newest_first(pool: asyncpg.Pool) -> None:
    await Writer(pool).land([message(1)])
    steps = StepQuery(60_000_000, Aggregate.MAX)
    everything = await ask(pool, steps)
    assert everything == sorted(everything, key=lambda r: r.timestamp, reverse=True)
    assert comparable(await ask(pool, steps, limit=5)) == comparable(everything[:5])


async def test_an_hour_waits_until_it_has_settled(pool: asyncpg.Pool) -> None:
    await Writer(pool).land([message(1, hours=1), message(2, hours=1)])
    maintenance = Maintenance(pool)
    assert (await maintenance.run()).rolled_up_hours == 0
    await pool.execute("UPDATE rollup_stale SET noted_at = now() - interval '1 hour'")
    assert (await maintenance.run()).rolled_up_hours == 1
    assert await pool.fetchval(ROLLUPS) > 0


async def test_many_marks_of_an_hour_become_one(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    for number in range(20):
        await writer.land([message(number, hours=2)])
    await Maintenance(pool).run()
    assert await pool.fetchval("SELECT count(*) FROM rollup_stale") == 2
    assert await make(pool) == 2


@asynccontextmanager
async def stalled(pool: asyncpg.Pool) -> AsyncIterator[asyncio.Task[int]]:
    """Rollups are being made; the snapshot is taken, and nothing is written until the end."""
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE rollup IN SHARE MODE")
        task = asyncio.create_task(make(pool))

        async def waiting() -> bool:
            return bool(await other.fetchval(f"SELECT count(*) {WAITING}"))

        await eventually(waiting)
        yield task


async def test_marks_made_while_rollups_are_made_stay(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    await writer.land([message(1, hours=2)])
    await make(pool)
    await writer.land([message(2, hours=2)])
    async with stalled(pool) as task:
        await writer.land([message(3, hours=1)])
        await assert_right(pool)
    assert await task == 2
    assert [row[0] for row in await pool.fetch(STALE)] == [NOON]
    await assert_right(pool)
    assert await make(pool) == 1
    await assert_right(pool)


async def test_a_connection_that_is_lost_midway_has_made_nothing(pool: asyncpg.Pool) -> None:
    writer = Writer(pool)
    await writer.land([message(1, hours=2)])
    await make(pool)
    await writer.land([message(2, hours=2)])
    before = await pool.fetchval(ROLLUPS)
    async with stalled(pool) as task:
        await pool.execute(f"SELECT pg_terminate_backend(pid) {WAITING}")
        with pytest.raises(StoreUnavailable):
            await task
    assert await pool.fetchval(ROLLUPS) == before
    assert len(await pool.fetch(STALE)) == 2
    await assert_right(pool)
    assert await make(pool) == 2
    await assert_right(pool)


async def test_collectors_readers_merges_and_rollups_at_once(pool: asyncpg.Pool) -> None:
    writing, made, answers = True, 0, 0

    async def write(first: int) -> None:
        writer, numbers = Writer(pool), count(first)
        for number in numbers:
            await writer.land([message(number, hours=14, rows=20)])
            if number >= first + 25 and made >= 3 and answers >= 3:
                return

    async def keep_up() -> None:
        nonlocal made
        maintenance = Maintenance(pool)
        while writing:
            work = await maintenance.run(everything=True)
            made += work is not None and work.rolled_up_hours > 0

    async def total(*, use_rollups: bool) -> float:
        found = await ask(pool, StepQuery(3_600_000_000, Aggregate.COUNT, use_rollups=use_rollups))
        return sum(record.value for record in found)

    async def keep_asking() -> None:
        nonlocal answers
        while writing:
            before = await total(use_rollups=False)
            between = await total(use_rollups=True)
            assert before <= between <= await total(use_rollups=False)
            answers += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(keep_up())
        group.create_task(keep_asking())
        await asyncio.gather(*(write(1_000_000 * number) for number in range(3)))
        writing = False
    await assert_right(pool)
    await make(pool)
    await assert_right(pool)


async def test_rollups_of_dropped_days_go_with_them_or_are_kept_longer(pool: asyncpg.Pool) -> None:
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    writer = Writer(pool)
    for number, days_ago in enumerate((9, 5, 1)):
        await writer.land([message(number, noon - days_ago * DAY, hours=3)])
    steps = StepQuery(3_600_000_000, Aggregate.COUNT)
    before = await ask(pool, steps)
    work = await Maintenance(pool, 3 * DAY, 7 * DAY).run()
    assert len(work.dropped_days) == 2
    assert work.rolled_up_hours == 9
    kept = [record for record in before if record.timestamp > noon - 6 * DAY]
    assert await ask(pool, steps) == kept
    assert await ask(pool, StepQuery(60_000_000, Aggregate.SUM)) != []
    await Maintenance(pool, 3 * DAY).run()
    kept = [record for record in kept if record.timestamp > noon - 2 * DAY]
    assert await ask(pool, steps) == kept
    await assert_right(pool)


async def test_a_store_without_rollups_has_them_made(empty_dsn: str) -> None:
    schema = known_migrations()
    await migrate(empty_dsn, schema[:3])
    pool = await open_pool(empty_dsn, PostgresSettings())
    await pool.execute("SELECT ensure_sample_block_day('2026-03-01')")
    await pool.execute(
        "INSERT INTO sample_block VALUES (1, $1, $2, 0, 2, '{0, 4200000000}', '{1, 2}')",
        NOON + HOUR / 2,
        NOON + 100 * 60 * SECOND,
    )
    await migrate(empty_dsn, schema[:4])
    assert [row[0] for row in await pool.fetch(STALE)] == [NOON, NOON + HOUR]
    await migrate(empty_dsn)
    assert await make(pool) == 2
    assert await pool.fetchval("SELECT sum(cardinality(count)) FROM rollup WHERE step_s = 60") == 2
    await close_pool(pool)


async def test_rollups_outlive_no_samples_that_they_stand_for(pool: asyncpg.Pool) -> None:
    await Writer(pool).land([message(1)])
    await make(pool)
    before = await pool.fetchval(ROLLUPS)
    assert before > 0
    work = await Maintenance(pool, None, DAY).run()
    assert work is not None
    assert work.dropped_days == ()
    assert await pool.fetchval(ROLLUPS) == before
    await assert_right(pool)
