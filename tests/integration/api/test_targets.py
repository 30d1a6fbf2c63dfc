"""The targets of scrapes in the form of Prometheus' API, under both of their paths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from gputel import times
from tests.helpers.scrape_targets import ScrapeTarget, add_target

PATHS = ("/api/v1/targets", "/prometheus/api/v1/targets")
UP = ScrapeTarget("gpu1:9400", more_labels={"rack": "r1"}, refused=2, slots_lost=3)
DOWN = ScrapeTarget("gpu2:9400", error="connection refused", samples=0)
FRESH = ScrapeTarget("gpu3:9400", scraped=False, duration_s=0, samples=0)
LEFT = ScrapeTarget("gpu4:9400", error="connection refused", silent_s=1000)
OTHER = ScrapeTarget("host1:9100", "node", interval_s=90.5)


async def data(client: aiohttp.ClientSession, path: str, **parameters: str) -> Any:
    async with client.get(path, params=parameters) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        answer = await response.json()
    assert answer["status"] == "success"
    return answer["data"]


def recent(time: str) -> bool:
    return abs(datetime.now(UTC) - times.parse(time)) < timedelta(minutes=5)


@pytest.mark.parametrize("path", PATHS)
async def test_a_target_has_the_fields_of_prometheus_and_our_own(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, path: str
) -> None:
    await add_target(pool, UP)
    found = await data(client, path)
    assert found.keys() == {"activeTargets", "droppedTargets"}
    assert found["droppedTargets"] == []
    (target,) = found["activeTargets"]
    assert recent(target.pop("lastScrape"))
    assert recent(target.pop("lastReport"))
    assert target == {
        "discoveredLabels": {},
        "labels": {"instance": "gpu1:9400", "job": "dcgm", "rack": "r1"},
        "scrapePool": "dcgm",
        "scrapeUrl": "http://gpu1:9400/metrics",
        "globalUrl": "http://gpu1:9400/metrics",
        "lastError": "",
        "lastScrapeDuration": 0.012,
        "health": "up",
        "scrapeInterval": "1m",
        "scrapeTimeout": "10s",
        "samples": 200,
        "refused": 2,
        "owner": "streamer-1",
        "slotsLost": 3,
        "hint": "",
    }


@pytest.mark.parametrize("path", PATHS)
async def test_the_health_is_that_of_the_last_scrape_while_a_streamer_reports_it(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, path: str
) -> None:
    for target in (OTHER, LEFT, FRESH, DOWN, UP):
        await add_target(pool, target)
    found = (await data(client, path))["activeTargets"]
    assert [(each["labels"]["instance"], each["health"]) for each in found] == [
        ("gpu1:9400", "up"),
        ("gpu2:9400", "down"),
        ("gpu3:9400", "unknown"),
        ("gpu4:9400", "unknown"),
        ("host1:9100", "up"),
    ]
    assert [each["lastError"] for each in found[:3]] == ["", "connection refused", ""]
    assert found[2]["lastScrape"] == "0001-01-01T00:00:00Z"
    since = found[3]["lastReport"][:19] + "Z"
    assert found[3]["lastError"] == f"no streamer scrapes it since {since}"
    assert found[4]["scrapeInterval"] == "1m30s500ms"


async def test_hint_says_what_may_be_wrong_with_a_target_that_is_up(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for target in (
        ScrapeTarget("a:1", frozen_since=since),
        ScrapeTarget("b:1", samples=0),
        ScrapeTarget("c:1", samples=0, error="refused"),
        ScrapeTarget("d:1", frozen_since=since, silent_s=1000),
        ScrapeTarget("e:1"),
    ):
        await add_target(pool, target)
    found = (await data(client, PATHS[0]))["activeTargets"]
    frozen, empty, *others = [each["hint"] for each in found]
    assert frozen.startswith("all its values are the same since 2026-03-01T12:00:00Z: if its GPUs")
    assert empty.startswith("its answer has no sample of a GPU that is stored: ")
    assert others == ["", "", ""]
    assert [each["health"] for each in found] == ["up", "up", "down", "unknown", "up"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("parameters", "instances"),
    [
        ({}, ["gpu1:9400", "host1:9100"]),
        ({"state": "active"}, ["gpu1:9400", "host1:9100"]),
        ({"state": "any", "scrapePool": "node"}, ["host1:9100"]),
        ({"state": "dropped"}, []),
        ({"scrapePool": "no-such"}, []),
    ],
)
async def test_state_and_scrape_pool_select_targets(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    path: str,
    parameters: dict[str, str],
    instances: list[str],
) -> None:
    for target in (UP, OTHER):
        await add_target(pool, target)
    found = (await data(client, path, **parameters))["activeTargets"]
    assert [each["labels"]["instance"] for each in found] == instances


async def test_the_jobs_are_the_scrape_pools(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    for target in (OTHER, DOWN, UP):
        await add_target(pool, target)
    assert await data(client, "/prometheus/api/v1/scrape_pools") == {
        "scrapePools": ["dcgm", "node"]
    }


async def test_a_wrong_parameter_is_refused_and_named(client: aiohttp.ClientSession) -> None:
    for query, says in (
        ("state=up", "state: 'up' is none of"),
        ("job=dcgm", "this path takes state, scrapePool"),
    ):
        async with client.get(f"{PATHS[0]}?{query}") as response:
            assert response.status == 400
            assert says in (await response.json())["message"]
