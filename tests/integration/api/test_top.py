"""Rankings are those of a plain computation over the same rows."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import aiohttp
import asyncpg
import pytest

from tests.helpers.telemetry_rows import Labels, add_block, every
from tests.integration.api.test_fleet_telemetry import NOON, VALUES, Data, Sample, land
from tests.integration.api.test_paging import get

PATH = "/api/v1/telemetry/top"
ALL = {"metric": "TEMP", "start_time": "2025-07-18T00:00:00Z"}


def ranked(data: Data, agg: str, label: str) -> list[tuple[str, float]]:
    found: dict[str, list[list[Sample]]] = defaultdict(list)
    for labels, samples in data.items():
        if labels.metric == "TEMP":
            found[getattr(labels, label)].append(samples)
    values = {name: VALUES[agg](series) for name, series in found.items()}
    return sorted(
        ((name, value) for name, value in values.items() if value is not None),
        key=lambda each: (-each[1], each[0]),
    )


@pytest.mark.parametrize(("by", "label"), [("gpu", "uuid"), ("host", "hostname")])
async def test_the_ranking_is_that_of_all_records(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, by: str, label: str
) -> None:
    data = await land(pool)
    for agg in VALUES:
        wanted = ranked(data, agg, label)
        rows, _ = await get(client, PATH, agg=agg, by=by, **ALL)
        assert [row[label] for row in rows] == [name for name, _ in wanted], agg
        assert [row["value"] for row in rows] == pytest.approx([value for _, value in wanted])
        assert [row["rank"] for row in rows] == [*range(1, len(wanted) + 1)]
        rows, _ = await get(client, PATH, agg=agg, by=by, n="2", order="asc", **ALL)
        lowest = sorted(wanted, key=lambda each: (each[1], each[0]))[:2]
        assert [row[label] for row in rows] == [name for name, _ in lowest], agg


async def test_rows_have_the_labels_that_a_gpu_was_last_seen_with(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(hostname="old"), every(NOON, 1, 2), [1, 2])
    await add_block(pool, Labels(hostname="new"), every(NOON + timedelta(hours=1), 1, 2), [6, 7])
    assert (await get(client, PATH, **ALL))[0] == [
        {
            "rank": 1,
            "uuid": "GPU-a",
            "hostname": "new",
            "modelName": "NVIDIA H100 80GB HBM3",
            "gpu_id": "0",
            "metric_name": "TEMP",
            "value": 4,
        }
    ]
    hosts, _ = await get(client, PATH, by="host", **ALL)
    assert hosts == [
        {"rank": 1, "hostname": "new", "metric_name": "TEMP", "value": 6.5},
        {"rank": 2, "hostname": "old", "metric_name": "TEMP", "value": 1.5},
    ]
    hosts, _ = await get(client, PATH, by="host", format="csv", hostname="old", **ALL)
    assert hosts == [{"rank": "1", "hostname": "old", "metric_name": "TEMP", "value": "1.5"}]


async def test_the_time_is_the_last_hour_or_that_before_the_end(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    now = datetime.now(UTC)
    await add_block(pool, Labels("GPU-now"), [now], [1])
    await add_block(pool, Labels("GPU-noon"), [NOON], [2])
    rows, _ = await get(client, PATH, metric="TEMP")
    assert [row["uuid"] for row in rows] == ["GPU-now"]
    rows, _ = await get(client, PATH, metric="TEMP", end_time="2025-07-18T12:59:59Z")
    assert [row["uuid"] for row in rows] == ["GPU-noon"]
    assert (await get(client, PATH, metric="NONE"))[0] == []
    assert (await get(client, PATH, metric="T\x00", end_time="0001-01-01T00:00:00Z"))[0] == []


async def test_equal_values_are_in_order_of_name_and_what_is_no_number_last(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    for name, value in (("c", 5.0), ("a", math.nan), ("b", 5.0), ("d", 9.0), ("e", -math.inf)):
        await add_block(pool, Labels(f"GPU-{name}"), [NOON], [value])
    rows, _ = await get(client, PATH, **ALL)
    assert [row["uuid"][-1] for row in rows] == ["d", "b", "c", "e", "a"]
    assert [row["value"] for row in rows] == [9, 5, 5, None, None]
    rows, _ = await get(client, PATH, order="asc", **ALL)
    assert [row["uuid"][-1] for row in rows] == ["e", "b", "c", "d", "a"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "metric: is missing; write it like metric=DCGM"),
        ({"metric": "DCGM_*"}, "metric: 'DCGM_*' is not the name of one metric"),
        ({"metric": ""}, "metric: '' is not the name of one metric"),
        ({"metric": "T", "n": "1001"}, "n: '1001' is not a whole number from 1 to 1000"),
        ({"metric": "T", "by": "pod"}, "by: 'pod' is none of gpu, host"),
        ({"metric": "T", "agg": "last"}, "agg: 'last' is none of avg, min, max, sum"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: aiohttp.ClientSession, query: dict[str, str], says: str
) -> None:
    async with client.get(PATH, params=query) as response:
        assert response.status == 400
        assert says in (await response.json())["message"]
