"""Whoever is killed or stopped, each slot of a target lands at most once, or it is counted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from gputel.model.columns import LABELS
from gputel.streamer.scrape.shards import grid_of
from tests.chaos.fleet import ROUNDS
from tests.chaos.scrape_fleet import (
    AHEAD_S,
    CLOCK_IS_SET,
    FAST_CLOCK,
    MEMBERS,
    Exporters,
    ScrapeFleet,
)
from tests.helpers.counting_exporters import GPUS, METRICS
from tests.helpers.processes import Processes
from tests.helpers.waiting import eventually

TARGETS = 12
SETTLE_S = 180
SECOND_US = 1_000_000

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]


async def test_each_slot_lands_once_or_is_counted_as_lost(
    processes: Processes, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with Exporters.started(TARGETS) as exporters:
        fleet = ScrapeFleet(processes, dsn, tmp_path, exporters.addresses)
        await fleet.ready()
        await all_land(pool)  # so the first slot of each target has landed, as nobody was harmed
        if ROUNDS > 1:
            await measure_takeover(fleet, exporters)
        await fleet.harm()
        await all_land(pool)
        await wind_down(fleet, pool)
        answers = await exporters.answers()
        assert CLOCK_IS_SET in fleet.members[FAST_CLOCK].err
        await check(pool, exporters.addresses, answers)


async def all_land(pool: asyncpg.Pool) -> None:
    """Wait until a slot of each target has landed that begins from now on."""
    now = await pool.fetchval("SELECT now()")

    async def all_have() -> bool:
        found = await pool.fetchval(
            "SELECT count(DISTINCT hostname) FROM telemetry "
            "WHERE metric_name = 'ASKED' AND timestamp > $1",
            now,
        )
        return found == TARGETS

    await eventually(all_have, SETTLE_S)


async def measure_takeover(fleet: ScrapeFleet, exporters: Exporters) -> None:
    """Print how long the targets of a streamer that was killed are not asked."""
    for number in fleet.of("streamer"):
        killed_at = time.time()
        fleet.kill(number)
        first: list[float] = []

        async def all_are_asked(since: float = killed_at, first: list[float] = first) -> bool:
            later = [[t for t in times if t > since] for times in await exporters.answers()]
            first[:] = [times[0] for times in later if times]
            return len(first) == TARGETS

        await eventually(all_are_asked, SETTLE_S)
        print(f"takeover after {max(first) - killed_at:.2f} s")
        fleet.restart(number)
        await fleet.ready()


async def wind_down(fleet: ScrapeFleet, pool: asyncpg.Pool) -> None:
    """Stop all in order; one streamer settles what those that were killed have left behind."""
    *others, last = fleet.of("streamer")
    await fleet.stop(*others)
    await pool.execute(  # as if the time for it to land had passed
        "UPDATE stream_lease SET expires_at = now() WHERE owner NOT IN "
        "(SELECT owner FROM scraper WHERE expires_at > now())"
    )

    async def none_of_the_dead() -> bool:
        return await pool.fetchval(
            "SELECT NOT EXISTS (SELECT FROM stream_lease "
            "WHERE owner NOT IN (SELECT owner FROM scraper WHERE expires_at > now()))"
        )

    await eventually(none_of_the_dead, SETTLE_S)
    await fleet.stop(last)

    async def nothing_leased() -> bool:
        return await pool.fetchval("SELECT NOT EXISTS (SELECT FROM stream_lease)")

    await eventually(nothing_leased, SETTLE_S)
    for role in dict.fromkeys(MEMBERS):
        if role != "streamer":
            await fleet.stop(*fleet.of(role))


async def check(
    pool: asyncpg.Pool, addresses: Sequence[str], answers: Sequence[Sequence[float]]
) -> None:
    """Check what has landed against what the exporters answered, and against the counts."""
    labels = ", ".join(LABELS)
    rows, different = await pool.fetchrow(
        f"SELECT count(*), count(DISTINCT (timestamp, {labels})) FROM telemetry"
    )
    assert rows == different

    targets = {row["url"]: row for row in await pool.fetch("SELECT * FROM scrape_target")}
    assert len(targets) == TARGETS
    missing, late_s = 0, 0.0
    for number, address in enumerate(addresses):
        target = targets[f"http://{address}/metrics"]
        up = await slots_of(
            pool, "metric_name = 'up' AND uuid = $1", f"target@{target['instance']}"
        )
        gpus = await slots_of(pool, "hostname = $1", f"node-{number}")
        # All samples of a slot share its time, and a target that is up has all of them.
        assert {at: len(values) for at, values in gpus.items()} == {
            at: GPUS * len(METRICS) for at, (value,) in up.items() if value == 1
        }
        grid = grid_of(target["shard"], 1.0)
        assert {at - grid.begin_us(grid.slot_at(at)) for at in up} == {0}
        # The first slot has landed before anybody was harmed, and the last one after.
        of_target = (max(up) - min(up)) // SECOND_US + 1 - len(up)
        assert of_target == target["slots_lost"], (dict(target), sorted(up))
        missing += of_target

        asked = await slots_of(
            pool, "metric_name = 'ASKED' AND gpu_id = '0' AND hostname = $1", f"node-{number}"
        )
        landed = [round(value) for (value,) in asked.values()]
        assert len(set(landed)) == len(landed), "one answer has landed in two slots"
        for at, (value,) in asked.items():
            late_s = max(late_s, abs(answers[number][round(value) - 1] - at / SECOND_US))
    print(f"{rows} samples, {missing} slots of targets are missing, all counted")
    print(f"an answer was {late_s:.2f} s away from its slot at most")
    assert late_s < AHEAD_S / 2


async def slots_of(pool: asyncpg.Pool, condition: str, argument: str) -> dict[int, list[float]]:
    """The values that have landed, by their time in microseconds."""
    found: dict[int, list[float]] = defaultdict(list)
    for row in await pool.fetch(
        "SELECT (extract(epoch FROM timestamp) * 1000000)::bigint AS at, value FROM telemetry "
        f"WHERE {condition}",
        argument,
    ):
        found[row["at"]].append(row["value"])
    return found
