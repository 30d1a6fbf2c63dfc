from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import asyncpg
import pytest
from yarl import URL

from tests.helpers.telemetry_rows import Labels, add_block

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
PATH = "/api/v1/gpus"
FLEET = [
    (Labels("GPU-a1", hostname="host-1", pod="train-0"), NOON),
    (Labels("GPU-a2", hostname="host-1", pod="train-1"), NOON + timedelta(hours=1)),
    (Labels("GPU-b1", hostname="host-2", pod="train-0"), NOON + timedelta(hours=2)),
    (Labels("GPU_b1", hostname="host-2"), NOON + timedelta(hours=3)),
]


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == 200, await response.text()
        return json.loads(await response.read())


def expected(query: str) -> list[str]:
    """The uuids of FLEET that a query leaves, worked out plainly."""
    asked: dict[str, list[str]] = {}
    for name, value in parse_qsl(query):
        asked.setdefault(name, []).append(value)
    return [
        labels.uuid
        for labels, seen in FLEET
        if labels.hostname in asked.get("hostname", [labels.hostname])
        and labels.pod in asked.get("pod", [labels.pod])
        and labels.uuid.startswith(tuple(asked.get("uuid", [""])))
        and "NVIDIA H100 80GB HBM3" in asked.get("modelName", ["NVIDIA H100 80GB HBM3"])
        and "" in asked.get("namespace", [""])
        and seen >= max(map(datetime.fromisoformat, asked.get("seen_since", ["2000-01-01T00:00Z"])))
    ]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "hostname=host-1",
        "hostname=host-1&hostname=host-2",
        "hostname=host-*",
        "hostname=%00",
        "pod=train-0",
        "hostname=host-2&pod=train-0",
        "modelName=NVIDIA+H100+80GB+HBM3",
        "modelName=H100",
        "namespace=ml",
        "uuid=GPU-a",
        "uuid=GPU-a&uuid=GPU-b",
        "uuid=GPU_",
        "uuid=%25",
        "uuid=a1",
        "seen_since=2025-07-18T13:00:00Z",
        "seen_since=2025-07-18T13:00:00.000001Z&hostname=host-2",
        "seen_since=9999-12-31T23:59:59Z",
    ],
)
async def test_filters_leave_what_they_say(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, query: str
) -> None:
    for labels, seen in FLEET:
        await add_block(pool, labels, [seen], [1])
    found = await get(client, f"{PATH}?{query}")
    assert [gpu["uuid"] for gpu in found] == sorted(expected(query))


async def test_a_gpu_is_looked_for_by_the_labels_it_was_last_seen_with(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(pod="old"), [NOON], [1])
    await add_block(pool, Labels(pod="new"), [NOON + timedelta(seconds=1)], [1])
    assert await get(client, f"{PATH}?pod=old") == []
    assert len(await get(client, f"{PATH}?pod=new")) == 1


async def test_nvswitches_and_cpus_are_no_gpus_but_what_they_measure_is_answered(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    for uuid in ("GPU-a", "nvswitch0@host-1", "cpu1@host-1", "nvswitch-nvidia0@host-1"):
        await add_block(pool, Labels(uuid), [NOON], [1])
    assert [gpu["uuid"] for gpu in await get(client, PATH)] == ["GPU-a"]
    (host,) = await get(client, "/api/v1/hosts")
    assert host["gpus"] == 1
    assert len(await get(client, "/api/v1/telemetry?uuid=nvswitch0%40host-1")) == 1


async def test_seen_since_may_be_relative_to_now(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    now = datetime.now(UTC)
    await add_block(pool, Labels("GPU-a"), [now - timedelta(minutes=1)], [1])
    await add_block(pool, Labels("GPU-b"), [now - timedelta(days=2)], [1])
    assert [gpu["uuid"] for gpu in await get(client, f"{PATH}?seen_since=now-5m")] == ["GPU-a"]
    assert len(await get(client, f"{PATH}?seen_since=now-99999999d")) == 2


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("seen_since=yesterday", "seen_since: 'yesterday' is not an RFC 3339 time"),
        ("seen_since=now-1h&seen_since=now", "seen_since: is given more than once"),
        ("pod=", "pod: is empty; write it like train-0"),
        ("host=a", "this path takes format, hostname, modelName, namespace, pod, uuid, seen_since"),
    ],
)
async def test_a_wrong_filter_is_named(
    client: aiohttp.ClientSession, query: str, says: str
) -> None:
    async with client.get(URL(f"{PATH}?{query}", encoded=True)) as response:
        assert response.status == 400
        assert says in (await response.json())["message"]
