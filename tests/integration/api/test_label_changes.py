"""A label that changes ends one series and begins another, and no GPU counts twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import chain
from typing import Any

import aiohttp
import pytest

from tests.helpers.batches import NOON, batch, labels
from tests.integration.api.conftest import Land

POWER = "DCGM_FI_DEV_POWER_USAGE"
WORLD = {"namespace": "ml", "container": "c"}
Row = tuple[dict[str, str], Any, float]


def at(second: float) -> str:
    return (NOON + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def readings(seconds: range, gpu: int = 0, raw: str = "", **others: str) -> list[Row]:
    series = labels(f"GPU-{gpu}", POWER, hostname="node-1", labels_raw=raw, **others)
    return [(series, NOON + timedelta(seconds=second), 500.0) for second in seconds]


def change(gpu: int = 0, raw: str = "") -> list[Row]:
    """A GPU with a pod from second 300 to 360, and another one from 480 on."""
    first, second = {"pod": "train-0", **WORLD}, {"pod": "train-1", **WORLD}
    return [
        *readings(range(0, 300, 15), gpu, raw),
        *readings(range(300, 360, 15), gpu, raw, **first),
        *readings(range(360, 480, 15), gpu, raw),
        *readings(range(480, 540, 15), gpu, raw, **second),
    ]


async def get(client: aiohttp.ClientSession, path: str, parameters: Mapping[str, str]) -> Any:
    async with client.get(path, params=parameters) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def values(client: aiohttp.ClientSession, query: str) -> dict[str, set[str]]:
    """All values of each pod over the nine minutes, a step each five seconds."""
    span = {"query": query, "start": at(0), "end": at(539), "step": "5"}
    answer = await get(client, "/prometheus/api/v1/query_range", span)
    return {
        each["metric"].get("pod", ""): {value for _, value in each["values"]}
        for each in answer["data"]["result"]
    }


async def moment(client: aiohttp.ClientSession, query: str, second: float) -> list[str]:
    answer = await get(client, "/prometheus/api/v1/query", {"query": query, "time": at(second)})
    return [each["value"][1] for each in answer["data"]["result"]]


async def pods(client: aiohttp.ClientSession, **parameters: str) -> list[str]:
    return [row["pod"] for row in await get(client, "/api/v1/telemetry/latest", parameters)]


async def test_sum_and_count_stay_as_pods_come_and_go(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(batch([row for gpu in range(8) for row in change(gpu)]))
    assert await values(client, f"sum({POWER})") == {"": {"4000"}}
    assert await values(client, f"count({POWER})") == {"": {"8"}}
    assert await values(client, "count({__name__=~'.*POWER.*'})") == {"": {"8"}}
    assert await values(client, f"max_over_time(sum({POWER})[2m:5s])") == {"": {"4000"}}
    assert await values(client, f"sum by (pod) ({POWER})") == {
        pod: {"4000"} for pod in ("", "train-0", "train-1")
    }


@pytest.mark.parametrize(
    "matcher", ['pod="train-0"', 'pod=~"train-.*",pod!="train-1"', 'container="c",pod="train-0"']
)
async def test_a_pod_has_ended_also_for_who_asks_for_it_alone(
    client: aiohttp.ClientSession, land: Land, matcher: str
) -> None:
    await land(batch(change()))
    query = f"{POWER}{{{matcher}}}"
    assert await moment(client, query, 299) == []
    assert await moment(client, query, 300) == ["500"]
    assert await moment(client, query, 359.999) == ["500"]
    assert await moment(client, query, 360) == []
    assert await moment(client, f"count_over_time({query}[5m])", 480) == ["4"]


async def test_the_newest_records_have_each_gpu_once(
    client: aiohttp.ClientSession, land: Land
) -> None:
    rows = change()
    for first, end, pod in ((0, 20, ""), (20, 24, "train-0"), (24, 32, ""), (32, 36, "train-1")):
        await land(batch(rows[first:end]))
        assert await pods(client) == [pod]
        assert await pods(client, seen_since=at(0)) == [pod]
        assert await pods(client, pod="train-0") == (["train-0"] if pod == "train-0" else [])
        gpu = await get(client, "/api/v1/gpus/GPU-0", {})
        assert (gpu["labels"].get("pod", ""), len(gpu["metrics"])) == (pod, 1)


async def test_series_side_by_side_and_of_other_exporters_stay(
    client: aiohttp.ClientSession, land: Land
) -> None:
    links = [readings(range(0, 540, 15), 1, f'nvlink="{link}"') for link in range(3)]
    instances = [change(2, f'GPU_I_ID="{number}"') for number in range(2)]
    jobs = [readings(range(0, 300, 15), 3, 'job="a"'), readings(range(300, 540, 15), 3, 'job="b"')]
    await land(batch([*chain.from_iterable([*links, *instances, *jobs])]))
    one = f'count({POWER}{{UUID="GPU-%s"}})'
    assert await values(client, one % 1) == {"": {"3"}}
    assert await values(client, one % 2) == {"": {"2"}}
    assert await moment(client, one % 3, 310) == ["2"], "of another exporter, for five minutes"
    assert len(await pods(client, uuid="GPU-1")) == 3
    assert await pods(client, uuid="GPU-2") == ["train-1", "train-1"]
