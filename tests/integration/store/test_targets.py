"""Targets of scrapes are read in order, within the limits, and with whether they are reported."""

from __future__ import annotations

import asyncpg
import pytest

from gputel.errors import QueryTooLarge
from gputel.store.limits import Limits
from gputel.store.read.reader import Reader
from gputel.store.read.targets import targets
from tests.helpers.scrape_targets import ScrapeTarget, add_target


async def test_targets_come_in_order_of_job_and_instance(pool: asyncpg.Pool) -> None:
    for job, instance in (("dcgm", "gpu2:9400"), ("amd", "z:5000"), ("dcgm", "GPU3:9400")):
        await add_target(pool, ScrapeTarget(instance, job))
    found = await targets(Reader(pool))
    assert [each.labels["instance"] for each in found] == ["z:5000", "GPU3:9400", "gpu2:9400"]
    assert [each.job for each in await targets(Reader(pool), "amd")] == ["amd"]
    assert await targets(Reader(pool), "no such\x00job") == []


@pytest.mark.parametrize(
    ("interval_s", "silent_s", "reported"),
    [(1, 5, True), (1, 60, False), (100, 100, True), (100, 1000, False)],
)
async def test_a_target_is_reported_for_15_seconds_and_three_of_its_intervals(
    pool: asyncpg.Pool, interval_s: float, silent_s: float, reported: bool
) -> None:
    await add_target(pool, ScrapeTarget("a:1", interval_s=interval_s, silent_s=silent_s))
    (found,) = await targets(Reader(pool))
    assert found.reported is reported


@pytest.mark.parametrize("limits", [Limits(1, 9), Limits(9, 9, max_bytes=500)])
async def test_more_targets_than_the_limits_allow_are_refused(
    pool: asyncpg.Pool, limits: Limits
) -> None:
    await add_target(pool, ScrapeTarget("a:1"))
    assert len(await targets(Reader(pool), limits=limits)) == 1
    await add_target(pool, ScrapeTarget("b:1", "other"))
    with pytest.raises(QueryTooLarge, match="ask for one job by scrapePool"):
        await targets(Reader(pool), limits=limits)
    assert len(await targets(Reader(pool), "other", limits=limits)) == 1
