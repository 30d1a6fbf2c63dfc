from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from yarl import URL

from gputel.web.server.listener import Listener
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
PATH = "/api/v1/gpus/GPU-a/telemetry"


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        return json.loads(await response.read())


async def test_an_empty_store_answers_an_empty_array(client: aiohttp.ClientSession) -> None:
    assert await get(client, "/api/v1/gpus") == []


async def test_gpus_have_their_identity_and_when_they_were_seen(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [NOON, NOON + timedelta(microseconds=1500)], [1, 2])
    assert await get(client, "/api/v1/gpus") == [
        {
            "uuid": "GPU-a",
            "device": "nvidia0",
            "modelName": "NVIDIA H100 80GB HBM3",
            "hostname": "host-1",
            "gpu_id": "0",
            "first_seen": "2025-07-18T12:00:00Z",
            "last_seen": "2025-07-18T12:00:00.001500Z",
        }
    ]


async def test_records_have_all_their_fields_newest_first(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [NOON, NOON + timedelta(microseconds=1)], [0, 41.5])
    newest, oldest = await get(client, PATH)
    assert oldest == {
        "timestamp": "2025-07-18T12:00:00Z",
        "metric_name": "TEMP",
        "gpu_id": "0",
        "device": "nvidia0",
        "uuid": "GPU-a",
        "modelName": "NVIDIA H100 80GB HBM3",
        "hostname": "host-1",
        "container": "",
        "pod": "",
        "namespace": "",
        "value": 0,
        "labels_raw": 'gpu="0"',
    }
    assert newest["timestamp"] == "2025-07-18T12:00:00.000001Z"
    assert newest["value"] == 41.5


async def test_a_reading_that_is_no_finite_number_is_null(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), every(NOON, 1, 2), [math.nan, math.inf])
    assert [record["value"] for record in await get(client, PATH)] == [None, None]


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", [3, 2, 1]),
        ("start_time=2025-07-18T12:00:01Z", [3, 2]),
        ("start_time=", [3, 2, 1]),
        ("start_time=2025-07-18T12:00:01Z&end_time=", [3, 2]),
        ("end_time=2025-07-18T12:00:01Z", [2, 1]),
        ("start_time=2025-07-18T12:00:01Z&end_time=2025-07-18T12:00:01Z", [2]),
        ("start_time=2025-07-18T12:00:01+00:00", [3, 2]),
        ("start_time=2025-07-18T12:00:01%2B00:00", [3, 2]),
        ("start_time=2025-07-18T14:00:01.0000001+02:00", [3]),
        ("end_time=2025-07-18T11:59:59.9999999Z", []),
        ("start_time=0000-01-01T00:00:00Z&end_time=9999-12-31T23:59:59-23:59", [3, 2, 1]),
        ("limit=2", [3, 2]),
        ("metric=TEMP&limit=1", [3]),
        ("metric=POWER", []),
        ("metric=%00", []),
        ("step=1m", [2]),
        ("step=2s&agg=sum", [3, 3]),
        ("step=1d&agg=count&start_time=2025-07-18T12:00:01Z", [2]),
        ("step=00000001h&agg=last", [3]),
        ("step=99999999d&agg=max&limit=1", [3]),
        ("step=1s&agg=min&limit=2", [3, 2]),
        ("step=5m&metric=POWER", []),
        ("step=5m&metric=%00", []),
        ("step=5m&start_time=0000-01-01T00:00:00Z&end_time=9999-12-31T23:59:59-23:59", [2]),
    ],
)
async def test_queries_select(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, query: str, values: list[int]
) -> None:
    await add_block(pool, Labels(), every(NOON, 1, 3), [1, 2, 3])
    found = await get(client, f"{PATH}?{query}")
    assert [record["value"] for record in found] == values


async def test_a_step_has_the_beginning_of_its_span_and_the_labels_of_its_series(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(pod="a"), every(NOON, 40, 4), [1, math.nan, 3, 5])
    await add_block(pool, Labels(pod="b"), [NOON], [7])
    found = await get(client, f"{PATH}?step=1m&agg=max")
    assert [(r["timestamp"], r["pod"], r["value"]) for r in found] == [
        ("2025-07-18T12:02:00Z", "a", 5),
        ("2025-07-18T12:01:00Z", "a", 3),
        ("2025-07-18T12:00:00Z", "a", 1),
        ("2025-07-18T12:00:00Z", "b", 7),
    ]
    found = await get(client, f"{PATH}?step=1m&agg=avg&limit=3")
    assert [r["value"] for r in found] == [5, 3, None]


GOOD_TIME = "write it like 2025-07-18T20:42:34Z"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("start_time=yesterday", ["start_time", "'yesterday'", GOOD_TIME]),
        ("end_time=2025-07-18", ["end_time", GOOD_TIME]),
        ("end_time=2025-07-18T12:00:00", ["end_time", GOOD_TIME]),
        ("end_time=2025-02-30T12:00:00Z", ["end_time", "day is out of range", GOOD_TIME]),
        (
            "start_time=2025-07-18T12:00:01Z&end_time=2025-07-18T12:00:00Z",
            ["start_time: is after end_time"],
        ),
        ("limit=-1", ["limit", "'-1'", "write it like 100"]),
        ("limit=0", ["limit", "write it like 100"]),
        ("limit=1.5", ["limit", "write it like 100"]),
        ("limit=1_0", ["limit", "write it like 100"]),
        ("limit=" + "9" * 30, ["limit", "write it like 100"]),
        ("metric=", ["metric", "DCGM_FI_DEV_GPU_UTIL"]),
        ("step=0m", ["step: '0m'", "write it like 30s, 5m, 1h or 1d"]),
        ("step=60", ["step: '60'", "write it like 30s, 5m, 1h or 1d"]),
        ("step=", ["step: ''", "write it like 30s"]),
        ("step=-1m", ["step: '-1m'", "write it like 30s"]),
        ("step=1m&agg=mean", ["agg: 'mean' is none of avg, min, max, last, sum, count"]),
        ("agg=max", ["agg: needs a step; add step=5m"]),
        ("order=newest", ["order: 'newest' is neither asc nor desc"]),
        ("limit=1&limit=2", ["limit", "once"]),
        ("limit=1000001", ["limit", "1 to 1000000", "write it like 100"]),
        ("start_time=now%2B1h", ["start_time", GOOD_TIME, "or now-1h"]),
        (
            "since=1h",
            ["unknown query parameter 'since'", "start_time, end_time, order, limit, cursor, step"],
        ),
        ("start_time=x&limit=y", ["start_time: 'x'", "limit: 'y'"]),
    ],
)
async def test_a_wrong_parameter_is_named_and_a_right_one_shown(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, query: str, says: list[str]
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    async with client.get(URL(f"{PATH}?{query}", encoded=True)) as response:
        assert response.status == 400
        assert response.content_type == "application/json"
        refusal = await response.json()
    assert set(refusal) == {"code", "message"}
    assert refusal["code"] == "bad_request"
    for words in says:
        assert words in refusal["message"]


@pytest.mark.parametrize("uuid", ["GPU-b", "GPU-%00", "%ED%A0%80", "a%2Fb", "%27%20or%201=1"])
async def test_an_unknown_gpu_is_not_found(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, uuid: str
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    async with client.get(URL(f"/api/v1/gpus/{uuid}/telemetry", encoded=True)) as response:
        assert response.status == 404
        refusal = await response.json()
    assert refusal["code"] == "not_found"
    assert "GET /api/v1/gpus lists" in refusal["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/api/v1/gpus", 405, "method_not_allowed"),
        ("DELETE", PATH, 405, "method_not_allowed"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/v2/gpus", 404, "not_found"),
        ("GET", "/api/v1/gpus/", 404, "not_found"),
        ("GET", "/static/", 404, "not_found"),
        ("GET", "/static/nothing.js", 404, "not_found"),
        ("GET", "/static/..%2F..%2Ferrors.py", 404, "not_found"),
        ("GET", "/static/%2Fetc%2Fpasswd", 404, "not_found"),
        ("GET", "/static/a%00b", 404, "not_found"),
    ],
)
async def test_every_refusal_has_a_code_and_a_message(
    client: aiohttp.ClientSession, method: str, path: str, status: int, code: str
) -> None:
    async with client.request(method, URL(path, encoded=True)) as response:
        assert response.status == status
        refusal = await response.json()
        assert status != 405 or "GET" in response.headers["Allow"]
    assert refusal["code"] == code
    assert refusal["message"]


async def test_head_answers_as_get_would_without_reading_records(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_many(pool, Labels(), NOON, blocks=10, samples=100)
    async with client.head(PATH) as response:
        assert response.status == 200
        assert await response.read() == b""
    async with client.head("/api/v1/gpus/GPU-b/telemetry") as response:
        assert response.status == 404
    assert len(await get(client, PATH)) == 1000


async def test_health_readiness_metrics_and_the_document_are_answered(
    client: aiohttp.ClientSession,
) -> None:
    assert await get(client, "/healthz") == {"status": "ok"}
    assert await get(client, "/readyz") == {"status": "ready"}
    document = await get(client, "/openapi.json")
    assert document["openapi"] == "3.0.3"
    assert "securitySchemes" not in document["components"]  # this server needs no token
    async with client.get("/metrics") as response:
        assert response.content_type == "text/plain"


async def test_requests_are_counted_by_route_never_by_path(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    await get(client, PATH)
    async with client.get("/metrics") as response:
        text = await response.text()
    assert 'role="api",route="/api/v1/gpus/{uuid}/telemetry",status="200"' in text
    assert "GPU-a" not in text


@pytest.mark.parametrize("path", ["/", "/swagger"])
async def test_pages_load_nothing_from_elsewhere(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "://" not in text


async def test_the_start_page_names_every_path_of_the_api(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        page = await response.text()
    document = await get(client, "/openapi.json")
    paths = [path for path in document["paths"] if path.startswith("/api/v1/")]
    assert len(paths) > 9
    assert [path for path in paths if f"<code>{path}</code>" not in page] == []


async def test_a_method_that_a_path_does_not_take_is_told_with_those_that_it_takes(
    client: aiohttp.ClientSession,
) -> None:
    async with client.delete("/api/v1/gpus") as response:
        told = (await response.json())["message"]
    assert told == "/api/v1/gpus does not take DELETE, only GET, HEAD"


async def test_two_apis_in_one_process_answer_alike(
    pool: asyncpg.Pool, api: Listener, client: aiohttp.ClientSession, wired_api: Listener
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    async with aiohttp.ClientSession(wired_api.url) as other:
        for path in ("/openapi.json", "/api/v1/gpus", PATH):
            assert await get(other, path) == await get(client, path)


@pytest.mark.parametrize("path", ["/api/v1/gpus?format=", "/api/v1/hosts/", "/nothing/"])
async def test_a_refusal_is_short_however_long_what_it_refuses(
    client: aiohttp.ClientSession, path: str
) -> None:
    path += "a" * 5000 + ("/gpus" if "hosts" in path else "")
    async with client.get(path) as response:
        message = (await response.json())["message"]
    assert response.status in (400, 404)
    assert "aaa…" in message
    assert len(message) < 350


async def test_an_address_that_is_too_long_is_told_so(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/v1/gpus?uuid=" + "a" * 9000) as response:
        message = (await response.json())["message"]
    assert response.status == 400
    assert message.startswith("the address or a header is over 8190 bytes: ask for less at once")
