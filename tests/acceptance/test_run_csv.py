"""``gputel run --csv``: a file of one's own, read once with its own times, followed, or looped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.test_follow import SHORT_LEASE, Log, landed
from tests.acceptance.test_run import DRAIN_S, Whole
from tests.helpers.captures import START, numbers, write_numbered
from tests.helpers.processes import Processes
from tests.helpers.waiting import eventually

ALL_LANDED = "every row of stream"
ROWS = 1000

Start = Callable[..., Whole]


@pytest.fixture
def start(processes: Processes, dsn: str) -> Start:
    def run(*arguments: str | Path) -> Whole:
        return Whole(processes, *arguments, *SHORT_LEASE, GPUTEL_POSTGRES_DSN=dsn)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_numbered(tmp_path / "numbered.csv", ROWS)


async def test_each_row_lands_once_with_its_own_time_and_a_restart_adds_nothing(
    start: Start, file: Path, pool: asyncpg.Pool
) -> None:
    for _ in range(2):
        whole = start("--csv", file, "--chunk-rows", "100")
        await whole.process.says(ALL_LANDED)
        await whole.process.says("ready")
        assert await whole.get("/readyz") == {"status": "ready"}
        assert "made up" not in whole.process.err
        assert await whole.process.stop(wait_s=DRAIN_S) == 0
        rows = await pool.fetch("SELECT value::int AS n, timestamp, labels_raw FROM telemetry")
        assert sorted((row["n"], row["timestamp"]) for row in rows) == [
            (n, START + timedelta(milliseconds=10 * n)) for n in range(ROWS)
        ]
        assert not [row for row in rows if "gputel_loop" in row["labels_raw"]]


async def test_a_streamer_that_was_killed_goes_on_where_it_stood(
    start: Start, file: Path, pool: asyncpg.Pool
) -> None:
    whole = start("--csv", file, "--chunk-rows", "20", "--rate", "200")

    async def under_way() -> bool:
        return await pool.fetchval("SELECT count(*) FROM telemetry") > 0

    await eventually(under_way)
    whole.process.kill()
    whole = start("--csv", file)
    await whole.process.says(ALL_LANDED)
    assert await numbers(pool) == Counter(range(ROWS))
    assert await whole.process.stop(wait_s=DRAIN_S) == 0


async def test_a_followed_file_lands_as_it_grows_over_a_rotation_and_a_restart(
    start: Start, tmp_path: Path, pool: asyncpg.Pool
) -> None:
    log = Log(tmp_path / "grows.csv")
    whole = start("--csv", log.path, "--follow")
    await whole.process.says(f"waiting for rows in {log.path}")
    log.begin()
    for _ in range(2):
        log.write(100)
        await landed(pool, log.written)
    log.rotate()
    log.write(60)
    await landed(pool, log.written)
    assert await whole.process.stop(wait_s=DRAIN_S) == 0
    log.write(40)
    whole = start("--csv", log.path, "--follow")
    await whole.process.says("from row 60")
    log.write(5)
    await landed(pool, log.written)
    times = await pool.fetchrow("SELECT min(timestamp), max(timestamp) FROM telemetry")
    assert tuple(times) == (START, START + timedelta(milliseconds=10 * (log.written - 1)))
    assert await whole.process.stop(wait_s=DRAIN_S) == 0


async def test_following_begins_where_the_file_was_read_to_its_end(
    start: Start, tmp_path: Path, pool: asyncpg.Pool
) -> None:
    log = Log(tmp_path / "grows.csv")
    log.begin()
    log.write(100)
    whole = start("--csv", log.path)
    await whole.process.says(ALL_LANDED)
    assert await whole.process.stop(wait_s=DRAIN_S) == 0
    log.write(20)
    whole = start("--csv", log.path, "--follow")
    await whole.process.says("from row 100")
    await landed(pool, log.written)
    assert await whole.process.stop(wait_s=DRAIN_S) == 0


async def test_a_loop_says_that_its_times_are_made_up_and_marks_its_records(
    start: Start, file: Path, pool: asyncpg.Pool
) -> None:
    whole = start("--csv", file, "--loop", "--rate", "0", "--chunk-rows", "300")

    async def looped() -> bool:
        return await pool.fetchval("SELECT count(*) FROM telemetry") > 2 * ROWS

    await eventually(looped)
    await whole.process.says("ready")
    assert f"loops over {file}: the times of its records are made up" in whole.process.err
    series = '/prometheus/api/v1/series?match[]={gputel_loop="%s",gpu="0"}'
    assert (await whole.get(series % "true"))["data"]
    assert not (await whole.get(series % ""))["data"]
    assert await whole.process.stop(wait_s=DRAIN_S) == 0
    unmarked = "SELECT count(*) FROM telemetry WHERE labels_raw NOT LIKE 'gputel_loop=%'"
    assert await pool.fetchval(unmarked) == 0
    age = await pool.fetchval("SELECT now() - min(timestamp) FROM telemetry")
    assert age < timedelta(days=1)
