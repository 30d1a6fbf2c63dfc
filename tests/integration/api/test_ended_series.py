"""Series that have ended count only where they have samples: a day's jobs do not stop the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from gputel.api.prometheus import series as series_module
from gputel.store.read import series_reader
from gputel.store.upkeep.maintenance import Maintenance
from tests.helpers.batches import NOON
from tests.helpers.telemetry_rows import Labels, add_block, every
from tests.integration.api.conftest import Start

ENDED, MOST = 8, 2
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
async def client(pool: asyncpg.Pool, start: Start) -> AsyncIterator[aiohttp.ClientSession]:
    """An API that lets a query read 2 series, of a GPU that had a job each day, and two now."""
    for day in range(ENDED, 0, -1):
        times = every(NOON - day * DAY - MINUTE, 15, 4)
        await add_block(pool, Labels(pod=f"job-{day}"), times, [1] * 4)
    for pod in ("now-a", "now-b"):
        await add_block(pool, Labels(pod=pod), every(NOON, 15, 4), [7] * 4)
    async with start(query_max_series=MOST) as session:
        yield session


async def get(client: aiohttp.ClientSession, path: str, **parameters: str) -> Any:
    async with client.get(path, params=parameters) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def refused(client: aiohttp.ClientSession, path: str, **parameters: str) -> bool:
    async with client.get(path, params=parameters) as response:
        assert response.status in (400, 422)
        return "--query-max-series" in await response.text()


def at(moment: timedelta) -> str:
    return (NOON + moment).isoformat().replace("+00:00", "Z")


NOW = {"start_time": at(-MINUTE), "end_time": at(MINUTE)}
EVER = {"start_time": at(-ENDED * DAY - MINUTE), "end_time": at(MINUTE)}
OVER_TIME = "/prometheus/api/v1/query_range"


@pytest.mark.parametrize("few", [5_000, 0])
@pytest.mark.parametrize("query", ["TEMP", 'TEMP{pod=~".+"}', 'TEMP{pod!="x"}', "rate(TEMP[2m])"])
async def test_promql_counts_series_with_samples_in_what_it_reads(
    client: aiohttp.ClientSession, query: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "_FEW_SERIES", few)
    monkeypatch.setattr(series_reader, "_PIECE_IDS", 3)
    answer = await get(client, "/prometheus/api/v1/query", query=query, time=at(MINUTE))
    assert [each["metric"]["pod"] for each in answer["data"]["result"]] == ["now-a", "now-b"]
    span = {"start": at(-ENDED * DAY - MINUTE), "end": at(MINUTE), "step": "86400"}
    assert await refused(client, OVER_TIME, query=f"last_over_time(({query})[1d:1h])", **span)


async def test_records_and_steps_count_series_with_samples_in_the_range(
    client: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    for path in ("/api/v1/telemetry", "/api/v1/gpus/GPU-a/telemetry"):
        assert {row["pod"] for row in await get(client, path, **NOW)} == {"now-a", "now-b"}
        rows = await get(client, path, step="1h", **NOW)
        assert {row["value"] for row in rows} == {7}
        assert await refused(client, path, **EVER)
        assert await refused(client, path, step="1h", **EVER)
    await Maintenance(pool).run(everything=True)
    old = {"start_time": at(-3 * DAY - MINUTE), "end_time": at(-2 * DAY + MINUTE)}
    await pool.execute("DELETE FROM sample_block WHERE last_ts < $1", NOON - DAY)
    assert await get(client, "/api/v1/telemetry", **old) == []
    rows = await get(client, "/api/v1/telemetry", step="1h", **old)
    assert {row["pod"] for row in rows} == {"job-2", "job-3"}, "rollups count as samples"


async def test_the_newest_records_and_the_page_of_a_gpu_count_what_has_not_ended(
    client: aiohttp.ClientSession,
) -> None:
    rows = await get(client, "/api/v1/telemetry/latest")
    assert {row["pod"] for row in rows} == {"now-a", "now-b"}
    assert await refused(client, "/api/v1/telemetry/latest", seen_since=at(-ENDED * DAY - MINUTE))
    assert (await get(client, "/api/v1/gpus/GPU-a"))["metrics"][0]["value"] == 7


async def test_labels_and_their_values_follow_the_range(client: aiohttp.ClientSession) -> None:
    values = "/prometheus/api/v1/label/pod/values"
    span = {"start": at(-2 * DAY - MINUTE), "end": at(-DAY + MINUTE)}
    assert (await get(client, values, **span))["data"] == ["job-1", "job-2"]
    span = {"start": at(-DAY + MINUTE), "end": at(-MINUTE)}
    assert (await get(client, values, **span))["data"] == []
    assert (await get(client, "/prometheus/api/v1/labels", **span))["data"] == []
    assert len((await get(client, values))["data"]) == ENDED + 2
    span = {"start": at(-DAY - MINUTE), "end": at(MINUTE), "match[]": 'TEMP{pod=~"job.*"}'}
    assert [
        each["pod"] for each in (await get(client, "/prometheus/api/v1/series", **span))["data"]
    ] == ["job-1"]
