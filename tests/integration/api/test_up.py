"""``up`` and its siblings: in PromQL as in Prometheus, and never taken for a GPU."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.helpers.batches import batch, labels
from tests.helpers.scrape_targets import ScrapeTarget, ups
from tests.helpers.telemetry_rows import every
from tests.integration.api.conftest import Land
from tests.integration.api.test_gpus import get

START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
TIMES = every(START, 10, 7)
AT = TIMES[-1]
API = "/prometheus/api/v1"
ONE = ScrapeTarget("gpu1:9400", more_labels={"rack": "r1"})
TWO = ScrapeTarget("gpu2:9400")
NODE = ScrapeTarget("gpu1:9400", "node")  # the same instance in another job


@pytest.fixture(autouse=True)
async def landed(land: Land) -> None:
    """Two targets that are up, one that went down, and one GPU."""
    gpu = labels("GPU-a", "TEMP", hostname="host-1", labels_raw='instance="gpu1:9400",job="dcgm"')
    rows = [(gpu, time, 40.0) for time in TIMES[:2]]
    rows += ups(ONE, TIMES, [1.0] * 7) + ups(NODE, TIMES, [1.0] * 7)
    rows += ups(TWO, TIMES, [1.0] * 4 + [0.0] * 3)
    await land(batch(rows))


async def result(client: aiohttp.ClientSession, path: str, **parameters: Any) -> Any:
    async with client.get(f"{API}/{path}", params=parameters) as response:
        assert response.status == 200, await response.text()
        return (await response.json())["data"]


async def instant(client: aiohttp.ClientSession, query: str) -> list[tuple[dict[str, str], float]]:
    found = await result(client, "query", query=query, time=AT.timestamp())
    pairs = [(each["metric"], float(each["value"][1])) for each in found["result"]]
    return sorted(pairs, key=lambda pair: sorted(pair[0].items()))


def up(target: ScrapeTarget) -> dict[str, str]:
    return {"__name__": "up", **target.labels}


async def test_up_has_the_labels_of_the_target_and_no_others(
    client: aiohttp.ClientSession,
) -> None:
    assert await instant(client, "up") == [(up(ONE), 1), (up(NODE), 1), (up(TWO), 0)]
    assert await instant(client, "up == 0") == [(up(TWO), 0)]
    assert await instant(client, 'up{job="dcgm"}') == [(up(ONE), 1), (up(TWO), 0)]
    assert await instant(client, "scrape_samples_scraped{rack='r1'}") == [
        (up(ONE) | {"__name__": "scrape_samples_scraped"}, 200)
    ]


async def test_up_is_counted_and_grouped(client: aiohttp.ClientSession) -> None:
    assert await instant(client, "count(up)") == [({}, 3)]
    assert await instant(client, "avg by (instance) (up)") == [
        ({"instance": "gpu1:9400"}, 1),
        ({"instance": "gpu2:9400"}, 0),
    ]
    assert await instant(client, "sum by (UUID) (up)") == [({}, 2)]
    assert await instant(client, "min_over_time(up{instance='gpu2:9400'}[2m])") == [(TWO.labels, 0)]


async def test_a_gpu_is_joined_with_the_target_that_it_came_from(
    client: aiohttp.ClientSession,
) -> None:
    joined = "TEMP * on (instance, job) group_left () up"
    ((found, value),) = await instant(client, joined)
    assert (found["UUID"], value) == ("GPU-a", 40)


async def test_up_has_a_history(client: aiohttp.ClientSession) -> None:
    ends = {"start": TIMES[0].timestamp(), "end": AT.timestamp(), "step": 10}
    found = await result(client, "query_range", query='up{instance="gpu2:9400"}', **ends)
    (series,) = found["result"]
    assert series["metric"] == up(TWO)
    assert [value for _, value in series["values"]] == ["1"] * 4 + ["0"] * 3


@pytest.mark.parametrize(
    ("matcher", "count"),
    [
        ('UUID=""', 3),
        ('UUID!="x"', 3),
        ('UUID=~".*"', 3),
        ('UUID=~"|GPU-a"', 3),
        ('UUID!~"target.*"', 3),
        ('UUID=""   , job="dcgm"', 2),
        ('UUID!=""', 0),
        ('UUID=~"target.*"', 0),
        ('UUID="target@gpu1:9400"', 0),
        ('UUID=~"target@gpu1:9400|target@gpu2:9400"', 0),
        ('UUID=~"GPU-a|target@gpu1:9400"', 0),
        ('UUID="GPU-a"', 0),
        ('UUID!="target@gpu1:9400"', 3),
    ],
)
async def test_a_matcher_sees_no_uuid_of_a_target(
    client: aiohttp.ClientSession, matcher: str, count: int
) -> None:
    assert len(await instant(client, f"up{{{matcher}}}")) == count
    assert len(await result(client, "series", **{"match[]": f"up{{{matcher}}}"})) == count


async def test_a_matcher_of_uuids_still_finds_the_gpu_among_targets(
    client: aiohttp.ClientSession,
) -> None:
    for matcher in ('UUID="GPU-a"', 'UUID=~"GPU-a|target@gpu1:9400"', 'UUID!=""'):
        ((found, _),) = await instant(client, f'{{__name__=~".+",{matcher}}}')
        assert found["__name__"] == "TEMP"
    assert await result(client, "label/UUID/values") == ["GPU-a"]


async def test_targets_are_in_no_list_of_gpus_or_hosts(client: aiohttp.ClientSession) -> None:
    assert [gpu["uuid"] for gpu in await get(client, "/api/v1/gpus")] == ["GPU-a"]
    ((host),) = await get(client, "/api/v1/hosts")
    assert (host["hostname"], host["gpus"]) == ("host-1", 1)
    assert host["last_seen"] == TIMES[1].isoformat().replace("+00:00", "Z")
    async with client.get("/api/v1/gpus/target%40gpu1%3A9400") as response:
        assert response.status == 404
    async with client.get("/api/v1/gpus/target") as response:
        assert "target@" not in (await response.json())["message"]


@pytest.mark.parametrize("by", ["gpu", "host"])
async def test_targets_are_not_ranked(client: aiohttp.ClientSession, by: str) -> None:
    assert await get(client, f"/api/v1/telemetry/top?metric=up&by={by}") == []
    assert len(await get(client, f"/api/v1/telemetry/top?metric=TEMP&by={by}")) == 1


async def test_telemetry_of_targets_is_answered_and_newest_if_its_metric_is_named(
    client: aiohttp.ClientSession,
) -> None:
    records = await get(client, "/api/v1/telemetry?metric=up")
    assert {each["uuid"] for each in records} == {"target@gpu1:9400", "target@gpu2:9400"}
    metrics = {each["metric_name"] for each in await get(client, "/api/v1/metrics")}
    assert metrics == {"TEMP", "up", "scrape_duration_seconds", "scrape_samples_scraped"}
    newest = "/api/v1/telemetry/latest"
    assert [each["uuid"] for each in await get(client, newest)] == ["GPU-a"]
    assert len(await get(client, f"{newest}?metric=up")) == 3
