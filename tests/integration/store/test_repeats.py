"""One sample for a series and instant: in every answer, in rollups, in the report, and on disk."""

from __future__ import annotations

import math
from contextlib import aclosing
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from gputel.store.blocks.samples import micros
from gputel.store.migrations import known_migrations, migrate
from gputel.store.read.reader import Reader
from gputel.store.read.selection import of_gpu
from gputel.store.read.series_reader import samples_of
from gputel.store.read.telemetry import TelemetryQuery, telemetry
from gputel.store.read.time_order import Position
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.build import roll_up
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step
from gputel.store.upkeep import merge
from gputel.store.upkeep.merge import FINAL, Tier, merge_day
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.telemetry_rows import Labels, add_block

Row = tuple[int, float]


def arrival(name: str, rows: list[Row], chunk: Chunk | None = None) -> Arrival:
    """Rows of one series: minutes after noon, and values."""
    of = labels("GPU-a")
    return Arrival(
        name, chunk, batch([(of, NOON + timedelta(minutes=minute), v) for minute, v in rows])
    )


async def stored(pool: asyncpg.Pool) -> list[Row]:
    rows = await pool.fetch("SELECT timestamp, value FROM telemetry ORDER BY 1, 2")
    return [((row[0] - NOON) // timedelta(minutes=1), row[1]) for row in rows]


async def read(pool: asyncpg.Pool, limit: int | None = None) -> list[tuple[datetime, float]]:
    found = []
    query = TelemetryQuery(of_gpu("GPU-a"), limit=limit)
    async with aclosing(telemetry(Reader(pool), query)) as pieces:
        async for records in pieces:
            found += [(record.timestamp, record.value) for record in records]
    return found


async def by_hour(
    pool: asyncpg.Pool, aggregate: Aggregate, use_rollups: bool = True
) -> list[float]:
    found = []
    steps = StepQuery(3_600_000_000, aggregate, use_rollups=use_rollups)
    query = TelemetryQuery(of_gpu("GPU-a"))
    async with aclosing(telemetry_by_step(Reader(pool), query, steps)) as pieces:
        async for records in pieces:
            found += [record.value for record in records]
    return found


async def test_a_file_that_grew_and_a_sender_that_restarts_add_only_what_is_new(
    pool: asyncpg.Pool,
) -> None:
    day = [(minute, 100.0 * minute) for minute in range(10)]
    assert await Writer(pool).land([arrival("1", day[:6])]) == [True]
    assert await Writer(pool).land([arrival("2", day)]) == [True]
    assert await Writer(pool).land([arrival("3", day[2:4]), arrival("4", day[:5])]) == [True, True]
    assert await stored(pool) == day
    assert await by_hour(pool, Aggregate.AVG) == [450]
    assert await pool.fetchval("SELECT count(*) FROM sample_block") == 2


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("values", "wins"),
    [((1, 2), 2), ((2, 1), 2), ((math.nan, 1), 1), ((1, math.nan), 1), ((3, 1, 2, 3), 3)],
)
async def test_the_largest_value_wins_whatever_came_first(
    pool: asyncpg.Pool, together: bool, values: tuple[float, ...], wins: float
) -> None:
    arrivals = [arrival(str(place), [(0, value)]) for place, value in enumerate(values)]
    for part in [arrivals] if together else [[each] for each in arrivals]:
        assert all(await Writer(pool).land(part))
    assert [value for _, value in await read(pool)] == [wins]
    assert await by_hour(pool, Aggregate.SUM_OVER_TIME) == [wins]
    async with pool.acquire() as connection:
        await merge_day(connection, NOON.date(), FINAL)
    assert await stored(pool) == [(0, wins)]
    assert [value for _, value in await read(pool)] == [wins]


async def test_what_two_commits_brought_at_once_counts_once_everywhere_and_merging_leaves_one(
    pool: asyncpg.Pool,
) -> None:
    """Blocks by SQL stand for commits that did not see each other, and for an older gputel."""
    times = [NOON + timedelta(minutes=minute) for minute in range(10)]
    await add_block(pool, Labels(), times, [float(v) for v in range(10)])
    await add_block(pool, Labels(), times[3:8], [v + 0.5 for v in range(3, 8)])
    values = [v + 0.5 if 3 <= v < 8 else float(v) for v in range(10)]
    wanted = list(zip(times, values, strict=True))[::-1]

    async def assert_right() -> None:
        assert await read(pool) == wanted
        assert await read(pool, limit=4) == wanted[:4]
        for how in (True, False):
            assert await by_hour(pool, Aggregate.COUNT, use_rollups=how) == [10]
            assert await by_hour(pool, Aggregate.SUM_OVER_TIME, use_rollups=how) == [sum(values)]
            assert await by_hour(pool, Aggregate.P50, use_rollups=how) == [5.0]
        async with Reader(pool).snapshot() as connection:
            (series_id,) = await connection.fetchrow("SELECT series_id FROM series")
            span = micros(times[0]), micros(times[-1])
            found = await samples_of(connection, [series_id], *span, lambda _: None)
        assert found.value.tolist() == values
        assert all(before < after for before, after in pairwise(found.ts.tolist()))

    await assert_right()
    async with pool.acquire() as connection:
        await roll_up(connection, everything=True)
        await assert_right()
        merged = await merge_day(connection, NOON.date(), FINAL)
    assert (merged.blocks_before, merged.blocks_after, merged.samples) == (2, 1, 10)
    await assert_right()
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 10


async def test_blocks_that_are_full_are_merged_where_they_overlap(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.store.upkeep.merge.FINAL", Tier(1, 10, least=2))
    monkeypatch.setattr("gputel.store.blocks.blocks.MOST_SAMPLES", 10)
    times = [NOON + timedelta(minutes=minute) for minute in range(20)]
    for first in (0, 10, 0, 5):
        await add_block(pool, Labels(), times[first : first + 10], [1.0] * 10)
    async with pool.acquire() as connection:
        merged = await merge_day(connection, NOON.date(), merge.FINAL)
        assert (merged.blocks_before, merged.blocks_after, merged.samples) == (4, 2, 20)
        assert await merge_day(connection, NOON.date(), merge.FINAL) == merge.Merged()
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 20


async def test_a_cursor_goes_on_although_a_larger_value_has_landed_where_it_stands(
    pool: asyncpg.Pool,
) -> None:
    await Writer(pool).land([arrival("1", [(0, 1.0), (1, 1.0), (2, 1.0)])])
    reader, query = Reader(pool), TelemetryQuery(of_gpu("GPU-a"), limit=2)
    async with aclosing(telemetry(reader, query)) as pieces:
        (page,) = [records async for records in pieces]
    position = Position.of_last(page.samples)
    await Writer(pool).land([arrival("2", [(1, 5.0)])])
    rest = []
    async with aclosing(
        telemetry(reader, TelemetryQuery(of_gpu("GPU-a"), after=position))
    ) as pieces:
        async for records in pieces:
            rest += [record.timestamp for record in records]
    assert rest == [NOON]


async def test_a_chunk_tells_how_many_of_its_rows_were_there_already(pool: asyncpg.Pool) -> None:
    streams = Streams(pool, "s", "me")
    await streams.register("content", "file", looping=False)
    rows: list[Row] = [(minute, 1.0) for minute in range(6)]
    await Writer(pool).land([arrival("push", rows[:2])])
    landed = []
    for part in (rows[:4], [*rows[4:], rows[4]]):
        lease = await streams.reserve(len(part), 60)
        assert lease is not None
        landed.append(arrival(f"s/{lease.first_row}", part, Chunk("s", lease.first_row)))
    assert await Writer(pool).land(landed) == [True, True]
    assert await Writer(pool).land(landed) == [False, False]
    progress = await streams.progress()
    assert (progress.landed_rows, progress.repeated_rows) == (7, 3)
    assert await stored(pool) == rows


async def test_a_store_of_the_version_before_makes_rollups_anew_where_an_instant_counted_twice(
    empty_dsn: str,
) -> None:
    await migrate(empty_dsn, [each for each in known_migrations() if each.version < 13])
    pool = await asyncpg.create_pool(empty_dsn, min_size=1, max_size=2)
    hour = timedelta(hours=1)
    for uuid, start in (("GPU-a", 0), ("GPU-a", 0), ("GPU-b", 2), ("GPU-c", 4)):
        offsets = [0, 0, 60] if uuid == "GPU-b" else [0, 30, 60]
        times = [NOON + start * hour + timedelta(seconds=s) for s in offsets]
        await add_block(pool, Labels(uuid), times, [1.0] * 3)
    await pool.execute("DELETE FROM rollup_stale")
    await migrate(empty_dsn)
    hours = await pool.fetch("SELECT hour FROM rollup_stale ORDER BY 1")
    assert [row[0] for row in hours] == [NOON, NOON + 2 * hour]
    await pool.close()
