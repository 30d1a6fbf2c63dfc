from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import aiohttp
import asyncpg
import pytest
from yarl import URL

from gputel.model.meanings import MEANINGS
from gputel.store.upkeep.maintenance import Maintenance
from tests.helpers.telemetry_rows import Labels, add_block, every
from tests.integration.api.test_gpus import get

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TEMP = "DCGM_FI_DEV_GPU_TEMP"
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
BLOCKS: list[tuple[Labels, list[datetime], list[float]]] = [
    (Labels("GPU-a1", TEMP, "node-a"), every(NOON, 1, 3), [40, 41.5, 42]),
    (Labels("GPU-a1", TEMP, "node-a", "old"), every(NOON - timedelta(hours=3), 1, 2), [99, 12]),
    (Labels("GPU-a1", ENERGY, "node-a"), every(NOON - timedelta(hours=2), 1, 2), [7, 8]),
    (Labels("GPU-a1", "GONE", "node-a"), every(NOON - 2 * DAY, 1, 2), [1, 2]),
    (Labels("GPU-a2", TEMP, "node-a"), every(NOON - DAY, 1, 2), [20, math.nan]),
    (Labels("GPU-b1", TEMP, "node-b"), every(NOON - 3 * DAY, 60, 90), list(range(90))),
    (Labels("GPU-b1", ENERGY, "node-old"), every(NOON - 4 * DAY, 1, 1), [1]),
]


@pytest.fixture
async def blocks(pool: asyncpg.Pool) -> None:
    for labels, times, values in BLOCKS:
        await add_block(pool, labels, times, values)


def told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def seen(*uuids: str) -> dict[str, str]:
    times = [time for labels, times, _ in BLOCKS if labels.uuid in uuids for time in times]
    return {"first_seen": told(min(times)), "last_seen": told(max(times))}


async def refusal(client: aiohttp.ClientSession, path: str, status: int) -> str:
    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == status
        return str((await response.json())["message"])


async def test_a_gpu_has_its_labels_and_the_newest_value_of_each_metric_of_its_last_day(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    before = datetime.now(UTC)
    gpu = await get(client, "/api/v1/gpus/GPU-a1")
    metrics = gpu.pop("metrics")
    ages = [metric.pop("age_s") for metric in metrics]
    assert gpu == {
        "uuid": "GPU-a1",
        "device": "nvidia0",
        "modelName": "NVIDIA H100 80GB HBM3",
        "hostname": "node-a",
        "gpu_id": "0",
        **seen("GPU-a1"),
        "labels": {
            "UUID": "GPU-a1",
            "device": "nvidia0",
            "modelName": "NVIDIA H100 80GB HBM3",
            "Hostname": "node-a",
            "gpu": "0",
        },
    }
    newest = [NOON + timedelta(seconds=2), NOON - timedelta(hours=2) + timedelta(seconds=1)]
    no_mig = {"GPU_I_ID": "", "GPU_I_PROFILE": ""}
    assert metrics == [
        {"metric_name": TEMP, **no_mig, "value": 42, "timestamp": told(newest[0]), "unit": "C"},
        {"metric_name": ENERGY, **no_mig, "value": 8, "timestamp": told(newest[1]), "unit": "mJ"},
    ]
    for age_s, time in zip(ages, newest, strict=True):
        assert age_s >= (before - time).total_seconds() - 0.001
        assert age_s <= (datetime.now(UTC) - time).total_seconds() + 0.001


async def test_an_unknown_gpu_is_refused_with_the_nearest_known(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    said = await refusal(client, "/api/v1/gpus/GPU-a3", 404)
    assert "'GPU-a3'" in said
    assert "did you mean GPU-a" in said
    assert "GET /api/v1/gpus lists" in said
    for odd in ("%00", "%ED%A0%80", "zzzz", "x" * 5000):
        assert "did you mean" not in await refusal(client, f"/api/v1/gpus/{odd}", 404)
    assert "unknown query parameter" in await refusal(client, "/api/v1/gpus/GPU-a1?a=1", 400)


@pytest.mark.parametrize("name", ["{x}", "MIG-{a}/{b}", "a}{", "%7B", "a b?c#d", "ä"])
async def test_a_path_takes_whatever_a_gpu_and_its_host_are_called(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, name: str
) -> None:
    await add_block(pool, Labels(name, TEMP, name), [NOON], [1])
    quoted = quote(name, safe="")
    assert (await get(client, f"/api/v1/gpus/{quoted}"))["uuid"] == name
    assert [row["uuid"] for row in await get(client, f"/api/v1/gpus/{quoted}/telemetry")] == [name]
    assert [gpu["uuid"] for gpu in await get(client, f"/api/v1/hosts/{quoted}/gpus")] == [name]


async def test_hosts_are_those_that_gpus_were_last_seen_on(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    models = ["NVIDIA H100 80GB HBM3"]
    assert await get(client, "/api/v1/hosts") == [
        {"hostname": "node-a", "gpus": 2, "models": models, **seen("GPU-a1", "GPU-a2")},
        {"hostname": "node-b", "gpus": 1, "models": models, **seen("GPU-b1")},
    ]


async def test_a_host_of_gpus_without_a_model_has_no_models(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels("GPU-c", TEMP, "node-c"), [NOON], [1])
    await pool.execute("UPDATE series SET model_name = ''")
    (host,) = await get(client, "/api/v1/hosts")
    assert host["models"] == []


async def test_gpus_without_a_hostname_are_on_no_host(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels("GPU-c", TEMP, ""), [NOON], [1])
    assert await get(client, "/api/v1/hosts") == []
    assert [gpu["uuid"] for gpu in await get(client, "/api/v1/gpus")] == ["GPU-c"]
    assert (await get(client, "/api/v1/gpus/GPU-c"))["hostname"] == ""


async def test_the_gpus_of_a_host_are_those_of_the_list(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    everyone = await get(client, "/api/v1/gpus")
    for host in ("node-a", "node-b"):
        found = await get(client, f"/api/v1/hosts/{host}/gpus")
        assert found == [gpu for gpu in everyone if gpu["hostname"] == host]
        assert found


async def test_an_unknown_host_is_refused_with_the_nearest_known(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    said = await refusal(client, "/api/v1/hosts/node-c/gpus", 404)
    assert "'node-c': did you mean node-" in said
    assert "did you mean" not in await refusal(client, "/api/v1/hosts/%00/gpus", 404)


async def test_metrics_tell_what_is_kept_and_their_range_once_there_are_rollups(
    blocks: None, pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    expected = []
    for name in sorted({labels.metric for labels, *_ in BLOCKS}):
        of = [block for block in BLOCKS if block[0].metric == name]
        times = [time for _, times, _ in of for time in times]
        values = [value for *_, values in of for value in values if not math.isnan(value)]
        expected.append(
            {
                "metric_name": name,
                "series": len({labels for labels, *_ in of}),
                "samples": len(times),
                "first_seen": told(min(times)),
                "last_seen": told(max(times)),
                "min": min(values),
                "max": max(values),
            }
        )
    known = ("unit", "help", "type", "meaning")
    found = await get(client, "/api/v1/metrics")
    about = {metric["metric_name"]: tuple(metric.pop(name) for name in known) for metric in found}
    assert found == [metric | {"min": None, "max": None} for metric in expected]
    assert about["GONE"] == ("", "", "unknown", "")
    meaning = "gputel:gpu_temperature_celsius"
    assert about[TEMP] == ("C", "Temperature of the GPU.", "gauge", meaning)
    assert about[ENERGY][2] == "counter"

    await Maintenance(pool).run(everything=True)
    found = await get(client, "/api/v1/metrics")
    assert [
        {key: metric[key] for key in metric if key not in known} for metric in found
    ] == expected


async def test_prometheus_metadata_tells_the_same(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    told = (await get(client, "/prometheus/api/v1/metadata"))["data"]
    assert {name: told[name] for name in told if name not in MEANINGS} == {
        metric["metric_name"]: [{name: metric[name] for name in ("type", "help", "unit")}]
        for metric in await get(client, "/api/v1/metrics")
    }


async def test_the_beginning_of_a_uuid_is_answered_with_one_that_begins_like_it(
    blocks: None, client: aiohttp.ClientSession
) -> None:
    assert "landed: did you mean GPU-b1? GET /api/v1/gpus lists" in await refusal(
        client, "/api/v1/gpus/GPU-b", 404
    )
    assert "did you mean node-a?" in await refusal(client, "/api/v1/hosts/n/gpus", 404)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("hostname=node-a", {"node-a": 2}),
        ("hostname=node-a&hostname=node-b", {"node-a": 2, "node-b": 1}),
        ("uuid=GPU-a1&uuid=GPU-b", {"node-a": 1, "node-b": 1}),
        ("seen_since=2025-07-18T00:00:00Z", {"node-a": 1}),
        ("hostname=node-old", {}),
    ],
)
async def test_filters_leave_hosts_by_the_gpus_on_them(
    blocks: None, client: aiohttp.ClientSession, filters: str, found: dict[str, int]
) -> None:
    hosts = await get(client, f"/api/v1/hosts?{filters}")
    assert {host["hostname"]: host["gpus"] for host in hosts} == found


async def test_an_empty_store_has_no_hosts_and_no_metrics(client: aiohttp.ClientSession) -> None:
    assert await get(client, "/api/v1/hosts") == []
    assert await get(client, "/api/v1/metrics") == []
