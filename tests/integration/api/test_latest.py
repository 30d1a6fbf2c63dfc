from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import aiohttp
import asyncpg
import pytest
from yarl import URL

from gputel.errors import QueryTooLarge
from gputel.store.limits import Limits
from gputel.store.read.latest import latest
from gputel.store.read.reader import Reader
from gputel.store.read.view import StoredViews
from tests.helpers.telemetry_rows import Labels, add_block, add_series, every
from tests.integration.api.test_gpus import get

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
PATH = "/api/v1/telemetry/latest"
BLOCKS = [
    (Labels("GPU-a", "TEMP", "host-1"), every(NOON, 10, 3)),
    (Labels("GPU-a", "TEMP", "host-1"), every(NOON - timedelta(days=1), 10, 3)),
    (Labels("GPU-a", "TEMP", "host-1"), every(NOON - timedelta(seconds=35), 10, 5)),
    (Labels("GPU-a", "POWER", "host-1"), every(NOON - timedelta(minutes=4), 10, 3)),
    (Labels("GPU-a", "TEMP", "host-1", pod="gone"), every(NOON - timedelta(minutes=6), 10, 3)),
    (Labels("GPU-b", "TEMP", "host-2"), every(NOON - timedelta(days=40), 10, 3)),
    (Labels("GPU-b", "POWER_MAX", "host-2"), every(NOON - timedelta(days=40), 10, 2)),
]


def plain(
    metric: str = "*", host: str = "*", seen_since: datetime | None = None
) -> list[tuple[str, str, str, str, float]]:
    """The same of BLOCKS, over every record. The value of a record is its second of the minute.

    Another series has taken the place of the pod that is gone.
    """
    rows = [(labels, time) for labels, times in BLOCKS for time in times]
    newest: dict[Labels, datetime] = {}
    seen: dict[str, datetime] = {}
    for labels, time in rows:
        newest[labels] = max(time, newest.get(labels, time))
        seen[labels.uuid] = max(time, seen.get(labels.uuid, time))
    return sorted(
        (labels.uuid, labels.metric, labels.pod, f"{time:%Y-%m-%dT%H:%M:%SZ}", time.second)
        for labels, time in newest.items()
        if time >= (seen_since or seen[labels.uuid] - timedelta(minutes=5))
        and labels.pod != "gone"
        and fnmatchcase(labels.metric, metric)
        and fnmatchcase(labels.hostname, host)
    )


def told(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, str, float]]:
    names = ("uuid", "metric_name", "pod", "timestamp", "value")
    return [tuple(row[name] for name in names) for row in rows]


@pytest.fixture
async def blocks(pool: asyncpg.Pool) -> None:
    for labels, times in BLOCKS:
        await add_block(pool, labels, times, [time.second for time in times])
    await add_series(pool, Labels("GPU-a", "NEVER"))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {}),
        ("metric=TEMP", {"metric": "TEMP"}),
        ("metric=POWER*", {"metric": "POWER*"}),
        ("metric=T?MP&hostname=host-1", {"metric": "T?MP", "host": "host-1"}),
        ("metric=NEVER", {"metric": "NEVER"}),
        ("seen_since=2025-07-18T12:00:00Z", {"seen_since": NOON}),
        ("seen_since=2025-01-01T00:00:00Z", {"seen_since": NOON - timedelta(days=100)}),
        ("seen_since=now", {"seen_since": datetime(3000, 1, 1, tzinfo=UTC)}),
    ],
)
async def test_it_is_the_newest_of_all_records(
    blocks: None, client: aiohttp.ClientSession, query: str, wanted: dict[str, Any]
) -> None:
    assert told(await get(client, f"{PATH}?{query}")) == plain(**wanted)


async def test_a_record_has_its_labels_and_its_age(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    before = datetime.now(UTC)
    times = every(NOON, 1, 2)
    await add_block(pool, Labels(pod="train-0"), times, [1, 41.5])
    await add_block(pool, Labels(metric="ODD"), times, [1, math.nan])
    odd, row = await get(client, PATH)
    assert odd["value"] is None
    age_s = row.pop("age_s")
    assert (before - times[-1]).total_seconds() - 0.001 <= age_s
    assert age_s <= (datetime.now(UTC) - times[-1]).total_seconds() + 0.001
    assert row == {
        "timestamp": "2025-07-18T12:00:01Z",
        "metric_name": "TEMP",
        "uuid": "GPU-a",
        "hostname": "host-1",
        "modelName": "NVIDIA H100 80GB HBM3",
        "gpu_id": "0",
        "device": "nvidia0",
        "namespace": "",
        "pod": "train-0",
        "container": "",
        "GPU_I_ID": "",
        "GPU_I_PROFILE": "",
        "value": 41.5,
    }
    async with client.get(f"{PATH}?format=csv&metric=TEMP") as response:
        head = (await response.text()).splitlines()[0]
    assert head == ",".join(["timestamp", "age_s", *list(row)[1:]])


@pytest.mark.usefixtures("blocks")
async def test_more_series_than_may_be_are_refused_but_those_that_ended_do_not_count(
    pool: asyncpg.Pool,
) -> None:
    reader = Reader(pool)
    assert await pool.fetchval("SELECT count(*) FROM series") == 6
    assert len(await latest(StoredViews(reader), limits=Limits(4, 1))) == 4
    with pytest.raises(QueryTooLarge, match=r"more than 3 series.*--query-max-series"):
        await latest(StoredViews(reader), limits=Limits(3, 1))


async def test_series_that_came_or_ended_since_the_last_answer_show_in_the_next(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(metric="TEMP"), every(NOON, 1, 2), [1, 2])
    await add_block(pool, Labels(metric="POWER"), every(NOON, 1, 2), [3, 4])
    assert [row["metric_name"] for row in await get(client, PATH)] == ["POWER", "TEMP"]
    later = every(NOON + timedelta(minutes=10), 1, 2)
    await add_block(pool, Labels(metric="CLOCK"), later, [5, 6])
    await add_block(pool, Labels(metric="TEMP"), later, [7, 8])
    rows = await get(client, PATH)
    assert [(row["metric_name"], row["value"]) for row in rows] == [("CLOCK", 6), ("TEMP", 8)]


async def test_a_fleet_without_series_has_no_newest_records(client: aiohttp.ClientSession) -> None:
    for form in ("json", "csv", "ndjson", "arrow", "parquet"):
        async with client.get(f"{PATH}?format={form}") as response:
            assert response.status == 200
    assert await get(client, PATH) == []


@pytest.mark.parametrize("query", ["metric=", "seen_since=x", "metrics=TEMP", "limit=1"])
async def test_what_it_does_not_take_is_named(client: aiohttp.ClientSession, query: str) -> None:
    async with client.get(URL(f"{PATH}?{query}", encoded=True)) as response:
        assert response.status == 400
        assert query.partition("=")[0] in (await response.json())["message"]
