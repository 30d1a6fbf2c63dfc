"""Series that come together become frames, and no answer shows it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import asyncpg
import numpy as np
import pytest

from gputel.store.blocks.blocks import make_blocks
from gputel.store.blocks.frames import frame_candidates
from gputel.store.blocks.samples import micros
from gputel.store.read.inventory import metrics
from gputel.store.read.latest import latest
from gputel.store.read.reader import Reader
from gputel.store.read.selection import EVERY, of_gpu
from gputel.store.read.series_reader import samples_of
from gputel.store.read.telemetry import TelemetryQuery, telemetry
from gputel.store.read.view import StoredViews
from gputel.store.rollup.build import roll_up
from gputel.store.status import store_status
from gputel.store.upkeep.conditions import Deletion
from gputel.store.upkeep.delete import delete
from gputel.store.upkeep.maintenance import Maintenance, sole
from gputel.store.upkeep.merge import FINAL, merge_day, merge_frames
from gputel.store.upkeep.survey import survey
from gputel.store.write.series_lists import SeriesLists
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.waiting import eventually

STEP, DAY = timedelta(seconds=10), timedelta(days=1)
METRICS = [f"METRIC_{number}" for number in range(6)]
FLAT = "SELECT timestamp, uuid, metric_name, value FROM telemetry ORDER BY 1, 2, 3, 4"
SAMPLES = "SELECT count(*) FROM telemetry"
FRAMES = "SELECT count(*) FROM sample_frame"
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sample_frame'::regclass"


def scrape(
    slot: int,
    *,
    start: datetime = NOON,
    gpus: int = 3,
    metrics: Sequence[str] = METRICS,
    times: int = 1,
    pod: str = "",
) -> Arrival:
    """The samples of some slots, each value another one."""
    rows = [
        (labels(f"GPU-{gpu}", metric, pod=pod), start + (slot + later) * STEP, value)
        for gpu in range(gpus)
        for place, metric in enumerate(metrics)
        for later in range(times)
        for value in [1000.0 * gpu + 10 * place + slot + later + 0.5]
    ]
    return Arrival(f"{start}/{slot}/{pod}/{len(rows)}", None, batch(rows))


async def land_apart(pool: asyncpg.Pool, arrivals: Sequence[Arrival]) -> Writer:
    writer = Writer(pool)
    for arrival in arrivals:
        assert await writer.land([arrival]) == [True]
    return writer


def flat(*arrivals: Arrival) -> list[tuple[Any, ...]]:
    rows = [
        (row["timestamp"], row["uuid"], row["metric_name"], row["value"])
        for arrival in arrivals
        for row in arrival.batch.to_pylist()
    ]
    return sorted(rows)


async def stored(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await pool.fetch(FLAT)]


async def answers(pool: asyncpg.Pool) -> list[Any]:
    """What readers say, by each way of reading."""
    reader = Reader(pool)
    found: list[Any] = [*await reader.gpus()]
    for each in await metrics(reader):
        found.append((each.metric_name, each.series, each.samples, each.first_seen, each.last_seen))
    newest = await latest(StoredViews(reader), EVERY)
    found += [(each.timestamp, each.uuid, each.metric_name, each.value) for each in newest]
    for query in (
        TelemetryQuery(EVERY),
        TelemetryQuery(EVERY, limit=17),
        TelemetryQuery(of_gpu("GPU-1"), start=NOON + 2 * STEP, end=NOON + 7 * STEP),
    ):
        async with aclosing(telemetry(reader, query)) as pieces:
            async for records in pieces:
                found += records
    async with reader.snapshot() as connection:
        ids = [row[0] for row in await connection.fetch("SELECT series_id FROM series")]
        span = micros(NOON + STEP), micros(NOON + 9 * STEP)
        samples = await samples_of(connection, ids, *span, lambda _: None)
    return [*found, samples.ts.tolist(), samples.value.tolist()]


@pytest.mark.parametrize("times", [1, 3])
async def test_series_that_come_together_again_become_frames(
    pool: asyncpg.Pool, times: int
) -> None:
    arrivals = [scrape(slot * times, times=times) for slot in range(5)]
    await land_apart(pool, arrivals)
    assert await pool.fetchval(FRAMES) == 3 * 3, "of each GPU, from the third time on"
    assert await pool.fetchval("SELECT count(*) FROM sample_block") == 2 * 3 * len(METRICS)
    assert await stored(pool) == flat(*arrivals)


async def test_frames_change_no_answer_before_and_after_they_are_merged(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = [scrape(slot) for slot in range(8)]
    with monkeypatch.context() as patch:
        patch.setattr("gputel.store.blocks.frames.MOST_TIMES", 0)
        await land_apart(pool, arrivals)
    assert await pool.fetchval(FRAMES) == 0
    wanted = await answers(pool)
    await pool.execute("TRUNCATE sample_block, gpu, message_ledger, rollup_stale")

    await land_apart(pool, arrivals)
    assert await pool.fetchval(FRAMES) > 0
    assert await answers(pool) == wanted
    async with pool.acquire() as connection:
        await roll_up(connection, everything=True)
        assert await answers(pool) == wanted
        merged = await merge_day(connection, NOON.date(), FINAL)
    assert merged.samples >= len(flat(*arrivals))
    assert await pool.fetchval(FRAMES) == 0
    assert await pool.fetchval("SELECT count(*) FROM sample_block") == 3 * len(METRICS)
    assert await answers(pool) == wanted


async def test_rollups_count_frames(pool: asyncpg.Pool) -> None:
    await land_apart(pool, [scrape(slot) for slot in range(8)])
    async with pool.acquire() as connection:
        await roll_up(connection, everything=True)
    counted = "SELECT sum(c) FROM rollup, unnest(count) AS c WHERE step_s = 3600"
    assert await pool.fetchval(counted) == 8 * 3 * len(METRICS)


async def test_series_that_come_together_once_have_no_list(pool: asyncpg.Pool) -> None:
    rng = random.Random(7)
    slots = [scrape(slot, metrics=rng.sample(METRICS, 5)) for slot in range(3)]
    writer = await land_apart(pool, [scrape(100, gpus=1, pod=f"pod-{n}") for n in range(5)])
    assert await pool.fetchval("SELECT count(*) FROM series_list") == 0
    for arrival in slots:
        await writer.land([arrival])
    assert await pool.fetchval("SELECT count(*) FROM series_list_member") % 5 == 0


async def test_a_series_is_in_so_many_lists_at_most(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.store.write.series_lists.MOST_OF_SERIES", 2)
    arrivals = [
        scrape(slot, gpus=1, metrics=[each for each in METRICS if each != METRICS[slot % 4]])
        for slot in range(16)
    ]
    await land_apart(pool, arrivals)
    assert await pool.fetchval("SELECT count(*) FROM series_list") == 2
    assert await pool.fetchval(FRAMES) == 2 * 2, "from the third time on"
    assert await stored(pool) == flat(*arrivals)


async def test_a_fleet_of_many_gpus_has_lists(pool: asyncpg.Pool) -> None:
    gpus = 25_000
    ids = np.arange(2 * gpus)
    blocks = make_blocks(ids, np.zeros(len(ids), np.int64), np.zeros(len(ids)))
    found = frame_candidates(blocks, ids // 2)
    lists = SeriesLists(pool)
    for _ in range(2):
        lists.known(0)
        await lists.meet(blocks, found, 0)
    assert len(lists.known(0)) == gpus
    told = "SELECT reltuples FROM pg_class WHERE oid = 'series_list_member'::regclass"
    assert await pool.fetchval(told) == 2 * gpus, "the planner knows of them"


async def test_a_store_without_frames_does_not_look_for_any(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one with a hypertable is."""
    monkeypatch.setattr("gputel.store.write.writer.frame_candidates", None)
    await pool.execute("""
        ALTER TABLE sample_block RENAME TO parted;
        CREATE TABLE sample_block (LIKE parted INCLUDING DEFAULTS)
    """)
    await land_apart(pool, [scrape(slot) for slot in range(3)])
    assert await pool.fetchval("SELECT count(*) FROM sample_block") == 3 * 3 * len(METRICS)
    assert await pool.fetchval(FRAMES) == 0


async def test_writers_at_once_use_the_same_lists(pool: asyncpg.Pool) -> None:
    for writer in (Writer(pool), Writer(pool)):
        for slot in range(4):
            arrival = scrape(slot, start=NOON + random.Random(id(writer)).randint(0, 9999) * STEP)
            await writer.land([arrival])
    assert await pool.fetchval("SELECT count(*) FROM series_list") == 3
    assert await pool.fetchval(FRAMES) == 2 * 2 * 3


async def test_a_sample_that_a_frame_has_is_not_stored_again(pool: asyncpg.Pool) -> None:
    writer = await land_apart(pool, [scrape(slot) for slot in range(6)])
    again = [Arrival(f"again {slot}", None, scrape(slot).batch) for slot in (1, 4)]
    assert await writer.land(again) == [True, True]
    assert await pool.fetchval(SAMPLES) == 6 * 3 * len(METRICS)


async def test_a_repeat_is_found_while_its_frame_becomes_a_block(pool: asyncpg.Pool) -> None:
    writer = await land_apart(pool, [scrape(slot) for slot in range(6)])
    again = Arrival("again", None, scrape(4).batch)
    async with asyncio.TaskGroup() as group, pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("LOCK TABLE sample_frame")
            landing = group.create_task(writer.land([again]))
            await eventually(
                lambda: pool.fetchval(WAITS)
            )  # it has looked at blocks, and not yet at frames
            await merge_frames(connection, NOON.date(), 1)
        assert await landing == [True]
    assert await pool.fetchval(SAMPLES) == 6 * 3 * len(METRICS)


@pytest.mark.parametrize("values", [(1.0, 5.0), (nan, 5.0), (5.0, inf)])
@pytest.mark.parametrize("in_frames", [(False, True), (True, False), (True, True), (False, False)])
async def test_the_larger_of_two_newest_values_counts(
    pool: asyncpg.Pool, values: tuple[float, float], in_frames: tuple[bool, bool]
) -> None:
    writer = await land_apart(pool, [scrape(slot, gpus=1) for slot in range(4)])
    newest = NOON + 9 * STEP
    for number, (value, framed) in enumerate(zip(values, in_frames, strict=True)):
        # Of all series together for a frame, and else of one at a time.
        parts = [METRICS] if framed else [[each] for each in METRICS]
        for part in parts:
            rows = batch([(labels("GPU-0", metric), newest, value) for metric in part])
            assert await writer.land([Arrival(f"{number} {part}", None, rows)]) == [True]
    found = await latest(StoredViews(Reader(pool)), EVERY)
    assert [each.value for each in found] == [values[1]] * len(METRICS)


async def test_the_newest_value_may_be_in_a_block_or_in_a_frame(pool: asyncpg.Pool) -> None:
    writer = await land_apart(pool, [scrape(slot) for slot in range(4)])
    newest = await latest(StoredViews(Reader(pool)), of_gpu("GPU-1"))
    assert [each.value for each in newest] == [1000 + 10 * place + 3.5 for place in range(6)]
    await writer.land([scrape(4, gpus=2, metrics=METRICS[:1])])  # too few for a frame
    newest = await latest(StoredViews(Reader(pool)), of_gpu("GPU-1"))
    slots = [4, 3, 3, 3, 3, 3]
    assert [each.value for each in newest] == [
        1000 + 10 * place + slot + 0.5 for place, slot in enumerate(slots)
    ]


async def test_maintenance_makes_blocks_of_frames_in_time(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.store.upkeep.maintenance._FRAME_SAMPLES", 5)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    arrivals = [scrape(slot, start=today) for slot in range(6)]
    writer = await land_apart(pool, arrivals)
    maintenance = Maintenance(pool)
    assert (await maintenance.run()).merged.blocks_before == 0, "four samples of each series"
    await writer.land([scrape(6, start=today)])
    assert (await maintenance.run()).merged.blocks_before == 5 * 3
    assert await pool.fetchval(FRAMES) == 0
    assert await stored(pool) == flat(*arrivals, scrape(6, start=today))


async def test_all_frames_of_a_day_that_is_over_become_blocks(pool: asyncpg.Pool) -> None:
    arrivals = [scrape(slot) for slot in range(4)]
    await land_apart(pool, arrivals)
    maintenance = Maintenance(pool)
    await maintenance.run()
    assert await pool.fetchval(FRAMES) > 0, "more may come"
    await maintenance.run()
    assert await pool.fetchval(FRAMES) == 0
    assert await stored(pool) == flat(*arrivals)


async def test_frames_go_with_their_day_and_lists_with_their_series(pool: asyncpg.Pool) -> None:
    old = datetime.now(UTC) - 5 * DAY
    writer = await land_apart(pool, [scrape(slot, start=old) for slot in range(5)])
    assert await pool.fetchval(FRAMES) > 0
    await Maintenance(pool, retention=2 * DAY).run(everything=True)
    for table in ("sample_frame", "series", "series_list", "series_list_member"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table

    now = datetime.now(UTC).replace(hour=1)
    arrivals = [scrape(slot, start=now) for slot in range(6)]
    for arrival in arrivals:
        assert await writer.land([arrival]) == [True]
    assert await stored(pool) == flat(*arrivals), "the writer knew lists that are gone"
    assert await pool.fetchval(FRAMES) > 0


async def test_series_with_frames_alone_stay(pool: asyncpg.Pool) -> None:
    await land_apart(pool, [scrape(slot) for slot in range(5)])
    await pool.execute("TRUNCATE sample_block, rollup")
    work = await Maintenance(pool).run()
    assert work is not None
    assert work.removed_series == 0
    assert await pool.fetchval("SELECT count(*) FROM series") == 3 * len(METRICS)


async def test_frames_whose_day_has_no_partition_are_merged(pool: asyncpg.Pool) -> None:
    await land_apart(pool, [scrape(slot) for slot in range(5)])
    await pool.execute(f"DROP TABLE sample_block_{NOON:%Y%m%d}")
    async with pool.acquire() as connection:
        await merge_frames(connection, NOON.date(), 1)
    assert await pool.fetchval(SAMPLES) == 3 * 3 * len(METRICS)


async def test_the_status_counts_frames(pool: asyncpg.Pool) -> None:
    await land_apart(pool, [scrape(slot) for slot in range(5)])
    before = await store_status(pool)
    async with pool.acquire() as connection:
        await merge_day(connection, NOON.date(), FINAL)
    (day,) = [each for each in before.days if each.day == NOON.date()]
    assert (day.samples, day.blocks) == (5 * 3 * len(METRICS), 5 * 3 * len(METRICS))
    assert (day.oldest, day.newest) == (NOON, NOON + 4 * STEP)
    (merged,) = [each for each in (await store_status(pool)).days if each.day == NOON.date()]
    assert (merged.samples, merged.blocks) == (day.samples, 3 * len(METRICS))


async def test_deletion_takes_samples_out_of_frames(pool: asyncpg.Pool) -> None:
    arrivals = [scrape(slot) for slot in range(6)]
    await land_apart(pool, arrivals)
    frames = await pool.fetchval(FRAMES)
    deletion = Deletion(uuids=("GPU-1",), start=NOON + 2 * STEP, end=NOON + 3 * STEP)
    async with sole(pool) as connection:
        assert connection is not None
        found = await survey(connection, deletion, None)
        deleted = await delete(connection, deletion, lambda _: None)
    assert found.samples == deleted.samples == 2 * len(METRICS)
    assert await pool.fetchval(FRAMES) == frames * 2 / 3 > 0, "those of other GPUs stay"
    assert await stored(pool) == [
        row
        for row in flat(*arrivals)
        if row[1] != "GPU-1" or not NOON + 2 * STEP <= row[0] <= NOON + 3 * STEP
    ]


async def test_samples_of_a_file_are_in_no_frame(pool: asyncpg.Pool) -> None:
    streams = Streams(pool, "file", "owner")
    await streams.register("f", "x.csv", looping=True)
    writer = Writer(pool)
    for slot in range(4):
        rows = scrape(slot).batch
        lease = await streams.reserve(len(rows), 60)
        chunk = Chunk("file", lease.first_row)
        assert await writer.land([Arrival(str(slot), chunk, rows)]) == [True]
    assert await pool.fetchval(FRAMES) == 0
    assert await pool.fetchval("SELECT count(*) FROM sample_block WHERE stream = 0") == 0
