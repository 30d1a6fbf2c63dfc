"""Pages, taken one after the other, are the one answer, whatever lands meanwhile."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from yarl import URL

from gputel.api.telemetry.paging import encode_cursor
from gputel.store.read.time_order import Position
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
PATH = "/api/v1/gpus/GPU-a/telemetry"
SECOND = timedelta(seconds=1)
Rows = list[dict[str, Any]]


async def get(client: aiohttp.ClientSession, url: str, **query: str) -> tuple[Rows, str | None]:
    """The rows, and the address of the next page."""
    async with client.get(URL(url, encoded=True).update_query(query)) as response:
        body = await response.text()
        assert response.status == 200, body
        if response.content_type == "text/csv":
            rows = list(csv.DictReader(io.StringIO(body, newline="")))
        else:
            rows = json.loads(body)
        match = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
        assert (match is None) == ("Link" not in response.headers)
    return rows, match and match[1]


async def land_all(pool: asyncpg.Pool) -> list[tuple[Labels, datetime]]:
    """Two days of three series: ties in time, and several blocks that have one instant."""
    rng, landed = random.Random(7), []
    for labels in (Labels(), Labels(metric="POWER"), Labels(pod="p")):
        for day in range(2):
            for _ in range(4):
                times = sorted(
                    NOON + timedelta(days=day, seconds=rng.randrange(30)) for _ in range(12)
                )
                values = [rng.choice([1.0, 2.0, math.nan, -math.inf]) for _ in times]
                await add_block(pool, labels, times, values)
                landed += [(labels, time) for time in times]
    return landed


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("name", ["json", "csv"])
@pytest.mark.parametrize(
    ("step_s", "more"),
    [(0, {}), (7, {"step": "7s", "agg": "max"}), (60, {"step": "1m", "agg": "sum_over_time"})],
)
async def test_pages_are_the_whole_answer(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    order: str,
    name: str,
    step_s: int,
    more: dict[str, str],
) -> None:
    landed = await land_all(pool)
    wanted, link = await get(client, PATH, order=order, format=name, **more)
    assert link is None
    steps = {(labels, time.timestamp() // step_s) for labels, time in landed if step_s}
    assert len(wanted) == len(steps or set(landed)) > 5
    times = [row["timestamp"] for row in wanted]
    assert times == sorted(times, reverse=order == "desc")
    for limit in (1, 5, len(wanted) - 1, len(wanted), len(wanted) + 1):
        found, url, pages = [], PATH, 0
        query = {"order": order, "format": name, "limit": str(limit), **more}
        next_url: str | None = PATH
        while next_url is not None:
            url, pages = next_url, pages + 1
            rows, next_url = await get(client, url, **query)
            query = {}
            assert 1 <= len(rows) <= limit
            found += rows
        assert found == wanted
        assert pages == -(-len(wanted) // limit)


@pytest.mark.parametrize("name", ["json", "csv"])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_records_that_land_between_pages_neither_shift_nor_repeat_any(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, order: str, name: str
) -> None:
    await add_block(pool, Labels(), every(NOON, 1, 40), range(40))
    before, _ = await get(client, PATH, order=order, format=name)
    found, url = await get(client, PATH, order=order, limit="7", format=name)
    page = 0
    while url is not None:
        page += 1
        # One behind all pages of either order, one before them.
        await add_block(pool, Labels(metric="NEW"), [NOON + page * timedelta(hours=1)], [page])
        await add_block(pool, Labels(metric="OLD"), [NOON - page * timedelta(hours=1)], [page])
        rows, url = await get(client, url)
        found += rows
    old = [row for row in found if row["metric_name"] == "TEMP"]
    assert old == before
    later = {"asc": "NEW", "desc": "OLD"}[order]
    assert {row["metric_name"] for row in found} == {"TEMP", later}
    assert len({(row["timestamp"], row["metric_name"]) for row in found}) == len(found)


async def test_a_long_page_is_streamed_and_has_its_link(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_many(pool, Labels(), NOON, blocks=150, samples=200)
    rows, url = await get(client, PATH, limit="25000")
    assert [row["value"] for row in rows] == [*range(5000, 30_000)][::-1]
    assert url is not None
    rows, url = await get(client, url)
    assert [row["value"] for row in rows] == [*range(5000)][::-1]
    assert url is None


async def test_times_relative_to_now_stay_those_of_the_first_page(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    now = datetime.now(UTC)
    await add_block(pool, Labels(), [now.replace(hour=0, minute=0) - SECOND * 9], [1])
    await add_block(pool, Labels(metric="B"), [now - 2 * SECOND * (now.second > 4)], [2])
    rows, url = await get(client, PATH, start_time="now-2d", end_time="now", limit="1")
    assert [row["value"] for row in rows] == [2]
    assert url is not None
    query = URL(url, encoded=True).query
    start, end = (datetime.fromisoformat(query[name]) for name in ("start_time", "end_time"))
    assert end - start == timedelta(days=2) or abs(end - start - timedelta(days=2)) < 60 * SECOND
    rows, url = await get(client, url)
    assert ([row["value"] for row in rows], url) == ([1], None)
    assert await get(client, PATH, start_time="now-0s") == ([], None)


async def test_metrics_may_be_repeated_and_patterns(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    for metric in ("GPU_TEMP", "MEM_TEMP", "POWER_1", "POWERx1", "100%"):
        await add_block(pool, Labels(metric=metric), [NOON], [1])

    async def metrics(query: str) -> list[str]:
        rows, _ = await get(client, f"{PATH}?{query}")
        return sorted(row["metric_name"] for row in rows)

    assert await metrics("metric=*_TEMP") == ["GPU_TEMP", "MEM_TEMP"]
    assert await metrics("metric=GPU_TEMP&metric=POWER_1") == ["GPU_TEMP", "POWER_1"]
    assert await metrics("metric=POWER_%3F&metric=???%25") == ["100%", "POWER_1"]
    assert await metrics("metric=%25") == []
    assert await metrics("metric=*&step=1h") == await metrics("")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "%00",
        "%C3%A9",
        "AAAA",
        encode_cursor(Position(0, 1, 1.0))[:-2],
        encode_cursor(Position(0, 1, 1.0)) + "%0A",
        encode_cursor(Position(2**63 - 1, 1, 1.0)),
        encode_cursor(Position(0, 2**63, 1.0)),
        encode_cursor(Position(0, 1, 1.0, 0)),
    ],
)
async def test_a_cursor_that_was_never_given_is_refused(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, text: str
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    async with client.get(URL(f"{PATH}?cursor={text}", encoded=True)) as response:
        assert response.status == 400, await response.text()
        refusal = await response.json()
    assert refusal["code"] == "bad_request"
    assert "cursor: " in refusal["message"]
    assert "Link header" in refusal["message"]
