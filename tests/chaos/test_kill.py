"""Whoever is killed, whenever: every source row lands, and lands once."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from gputel.model.columns import CSV_NAMES, LABELS
from gputel.sources.csv.looping import LOOP_MARK
from gputel.sources.simulated.simulator import simulate
from tests.chaos.fleet import Fleet
from tests.helpers.captures import REAL, numbers, write_numbered
from tests.helpers.processes import Processes
from tests.helpers.waiting import eventually

ROWS = 30_000
SETTLE_S = 180

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """The real capture; where it is not at hand, one that has a series a row as well."""
    if REAL.exists():
        return REAL
    path = tmp_path / "capture.csv"
    with path.open("wb") as out:
        simulate(out, hosts=31, gpus=8, rows=2480, seed=7)
    return path


async def test_looping_stream_lands_every_row_below_the_cursor_once(
    processes: Processes, dsn: str, pool: asyncpg.Pool, capture: Path
) -> None:
    stream = ("--csv", str(capture), "--loop", "--stream-id", "s", "--rate", "2500")
    fleet = Fleet(processes, dsn, *stream, "--chunk-rows", "250", "--chunk-interval-s", "0.1")

    async def far_enough() -> bool:
        return await cursor(pool) >= ROWS

    await fleet.kill_while(endless)
    await eventually(far_enough, SETTLE_S)
    before = await cursor(pool)

    async def settled() -> bool:
        oldest = await pool.fetchval("SELECT min(first_row) FROM stream_lease")
        return oldest is None or oldest >= before

    await eventually(settled, SETTLE_S)
    await fleet.stop("streamer")

    async def nothing_leased() -> bool:
        return await pool.fetchval("SELECT count(*) FROM stream_lease") == 0

    await eventually(nothing_leased, SETTLE_S)
    await fleet.stop("collector")
    await fleet.stop("broker")
    assert await landed(pool) == wanted(capture, await cursor(pool))


async def test_one_shot_stream_lands_every_row_once(
    processes: Processes, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    file = write_numbered(tmp_path / "numbered.csv", ROWS)
    stream = ("--csv", str(file), "--stream-id", "s", "--no-loop", "--timestamps", "source")
    # So slow that rows are left when each member has been killed: they last for 100 s.
    fleet = Fleet(processes, dsn, *stream, "--rate", "100", "--chunk-rows", "10")

    async def complete() -> bool:
        return await pool.fetchval(
            "SELECT next_row >= row_count AND NOT EXISTS (SELECT FROM stream_lease) "
            "FROM stream_progress"
        )

    async def working() -> bool:
        return not await complete()

    await fleet.kill_while(working)
    fleet.restart_streamers(*stream, "--rate", "0", "--chunk-rows", "250")
    await eventually(complete, SETTLE_S)
    for role in ("streamer", "collector", "broker"):
        await fleet.stop(role)
    assert await numbers(pool) == Counter(range(ROWS))


async def endless() -> bool:
    return True


async def cursor(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT next_row FROM stream_progress") or 0


async def landed(pool: asyncpg.Pool) -> Counter[tuple[object, ...]]:
    """How often each reading has landed, whatever its time."""
    columns = ", ".join((*LABELS, "value"))
    rows = await pool.fetch(
        f"SELECT {columns}, count(*) AS times FROM telemetry GROUP BY {columns}"
    )
    return Counter({tuple(row.values())[:-1]: row["times"] for row in rows})


def wanted(capture: Path, next_row: int) -> Counter[tuple[object, ...]]:
    """How often each reading stands at an index below the cursor, with the mark of a loop."""
    with capture.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["labels_raw"] = f"{LOOP_MARK},{row['labels_raw']}" if row["labels_raw"] else LOOP_MARK
    times: Counter[tuple[object, ...]] = Counter()
    for place, row in enumerate(rows):
        labels = (row[CSV_NAMES[name]] for name in LABELS)
        times[(*labels, float(row["value"]))] += len(range(place, next_row, len(rows)))
    return times
