"""Merging changes how samples are stored and nothing else, whoever reads, writes or dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from contextlib import aclosing
from datetime import date, timedelta
from itertools import count
from typing import Any

import asyncpg
import pytest

from gputel.store.read.reader import Reader
from gputel.store.read.selection import of_gpu
from gputel.store.read.telemetry import TelemetryQuery, telemetry
from gputel.store.upkeep.merge import FINAL, GROWING, Merged, Tier, merge_day
from gputel.store.write.writer import Arrival, Writer
from tests.helpers.batches import NOON, batch, labels
from tests.helpers.telemetry_rows import Labels, add_block, every
from tests.helpers.waiting import eventually

DAY = date(2026, 3, 1)
FLAT = "SELECT timestamp, uuid, metric_name, value FROM telemetry ORDER BY 1, 2, 3, 4"
# One statement sees one state: each message has 7 rows, and lands with its ledger entry.
BALANCE = "SELECT (SELECT count(*) FROM telemetry) - 7 * (SELECT count(*) FROM message_ledger)"


async def flat(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await pool.fetch(FLAT)]


async def answers(pool: asyncpg.Pool) -> list[Any]:
    """All that the API could say."""
    reader = Reader(pool)
    found: list[Any] = list(await reader.gpus())
    for gpu in list(found):
        async with aclosing(telemetry(reader, TelemetryQuery(of_gpu(gpu.uuid)))) as pieces:
            async for records in pieces:
                found += records
    return found


async def merge(pool: asyncpg.Pool, tier: Tier = FINAL, day: date = DAY) -> Merged:
    async with pool.acquire() as connection:
        return await merge_day(connection, day, tier)


def message(number: int) -> Arrival:
    """7 rows of 7 series, late ones among them, each at an instant of its own."""
    rng = random.Random(number)
    own = timedelta(microseconds=number)
    times = [NOON + own + timedelta(seconds=rng.randint(0, 40_000)) for _ in range(7)]
    rows = [(labels(f"GPU-{place}"), time, float(number)) for place, time in enumerate(times)]
    return Arrival(str(number), None, batch(rows))


async def test_merged_blocks_give_the_same_answers(pool: asyncpg.Pool) -> None:
    rng = random.Random(4)
    for uuid in ("GPU-a", "GPU-b", "GPU-c"):
        for _ in range(30):
            start = NOON + timedelta(microseconds=rng.randint(0, 30_000_000_000))
            step_s = rng.choice([0, 1, 10, 0.000001])
            values = [
                rng.choice([0.0, -1.5, 1e300, rng.random()]) for _ in range(rng.randint(1, 9))
            ]
            await add_block(pool, Labels(uuid), every(start, step_s, len(values)), values)
    await add_block(pool, Labels(), every(NOON + timedelta(days=1), 1, 3), [1, 2, 3])
    once = {row[:3]: row for row in await flat(pool)}  # the largest value of an instant is the last
    before = [*once.values()], await answers(pool)

    merged = await merge(pool)

    assert (merged.blocks_before, merged.blocks_after, merged.samples) == (
        90,
        3,
        len(once) - 3,
    )
    assert (await flat(pool), await answers(pool)) == before
    assert await merge(pool) == Merged()


async def test_merging_stays_within_a_day_and_below_the_longest_block(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.store.blocks.blocks.MOST_SAMPLES", 10)
    for hour in range(24):
        await add_block(pool, Labels(), every(NOON + timedelta(hours=hour), 1, 2), [1, 2])
    for day in (DAY, DAY + timedelta(days=1)):
        await merge(pool, Tier(1, 10, 2), day)
        assert await merge(pool, Tier(1, 10, 2), day) == Merged()
    rows = await pool.fetch("SELECT first_ts::date, samples FROM sample_block ORDER BY last_ts")
    assert [(row[0] - DAY, row[1]) for row in rows] == [
        (timedelta(days), samples) for days in (0, 1) for samples in (10, 10, 4)
    ]


async def test_a_growing_day_is_merged_by_tiers(pool: asyncpg.Pool) -> None:
    for second in range(99):
        await add_block(pool, Labels(), [NOON + timedelta(seconds=second)], [second])
    await add_block(pool, Labels(), every(NOON + timedelta(hours=1), 1, 100), range(100))
    assert await merge(pool, GROWING[0]) == Merged()
    await add_block(pool, Labels(), [NOON + timedelta(seconds=99)], [99])
    assert await merge(pool, GROWING[0]) == Merged(100, 1, 100)
    assert await merge(pool, GROWING[1]) == Merged()
    assert [row[3] for row in await flat(pool)] == [*range(100), *range(100)]


async def test_readers_and_writers_never_notice_a_merge(pool: asyncpg.Pool) -> None:
    writing, merges, reads = True, 0, 0
    landed: list[int] = []

    async def write(first: int) -> None:
        writer = Writer(pool)
        for number in count(first):
            await writer.land([message(number)])
            landed.append(number)
            if number >= first + 60 and merges > 2 and reads > 2:
                return

    async def keep_merging() -> None:
        nonlocal merges
        while writing:
            merges += (await merge(pool)).blocks_before > 0

    async def keep_counting() -> None:
        nonlocal reads
        while writing:
            assert await pool.fetchval(BALANCE) == 0
            reads += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(keep_merging())
        group.create_task(keep_counting())
        await asyncio.gather(*(write(1_000_000 * number) for number in range(3)))
        writing = False
    await merge(pool)
    await merge(pool, FINAL, DAY)
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == len(landed) * 7
    found = await pool.fetch("SELECT value, count(*) AS rows FROM telemetry GROUP BY 1")
    assert {row["rows"] for row in found} == {7}


async def test_maintenance_that_is_killed_midway_has_done_whole_batches_or_nothing(
    pool: asyncpg.Pool, dsn: str
) -> None:
    await pool.execute(
        """
        INSERT INTO series (digest, metric_name, gpu_id, device, uuid, model_name, hostname,
                            container, pod, namespace, labels_raw)
        SELECT decode(md5(n::text), 'hex'), 'M', '', '', n::text, '', '', '', '', '', ''
        FROM generate_series(1, 10000) AS n
        """
    )
    await pool.execute("SELECT ensure_sample_block_day($1)", DAY)
    await pool.execute(
        """
        INSERT INTO sample_block
        SELECT series_id, t, t + interval '9 s', 1000000, 10, NULL, array_fill(k + 0.5, '{10}')
        FROM series, generate_series(0, 5) AS k,
             LATERAL (SELECT $1::timestamptz + k * interval '1 minute') AS moment (t)
        """,
        NOON,
    )
    contents = "SELECT count(*), sum(value), sum(extract(epoch FROM timestamp)) FROM telemetry"
    blocks = "SELECT count(*) FROM sample_block"
    before = await pool.fetchrow(contents)
    midway = 0
    for _ in range(2):
        count = await pool.fetchval(blocks)
        process = maintain(dsn)

        async def begun(count: int = count) -> bool:
            return await pool.fetchval(blocks) < count

        await eventually(begun)
        process.kill()
        midway += process.wait() == -signal.SIGKILL
        assert await pool.fetchrow(contents) == before
    assert midway
    assert await asyncio.to_thread(maintain(dsn).wait) == 0
    assert await pool.fetchval(blocks) == 10_000
    assert await pool.fetchrow(contents) == before


def maintain(dsn: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gputel", "db", "maintain", "--postgres-dsn", dsn]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GPUTEL_")}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
