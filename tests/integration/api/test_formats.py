from __future__ import annotations

import asyncio
import csv
import gc
import gzip
import io
import json
import math
import os
import sys
import warnings
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from gputel.api.formats.format import Format
from gputel.web.server.listener import Listener
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
GPUS = "/api/v1/gpus"
PATH = f"{GPUS}/GPU-a/telemetry"
ODD = Labels(pod='a "pod", with=é\n', hostname="host,1")


def unpack(body: bytes, coding: str | None) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "zstd":
        with pa.CompressedInputStream(io.BytesIO(body), "zstd") as stream:
            return bytes(stream.read())
    assert coding is None
    return body


def rows_of(body: bytes, media_type: str) -> list[dict[str, Any]]:
    """The rows, by the format's own reader."""
    match next(each for each in Format if each.media_type == media_type):
        case Format.JSON:
            found: list[dict[str, Any]] = json.loads(body)
            return found
        case Format.NDJSON:
            return [json.loads(line) for line in body.splitlines()]
        case Format.CSV:
            return list(csv.DictReader(io.StringIO(body.decode(), newline="")))
        case Format.ARROW:
            return ipc.open_stream(body).read_all().to_pylist()
        case Format.PARQUET:
            return parquet.read_table(io.BytesIO(body)).to_pylist()


@pytest.fixture
async def client(api: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that gives bodies as they came."""
    async with aiohttp.ClientSession(api.url, auto_decompress=False) as session:
        yield session


async def get(
    client: aiohttp.ClientSession, path: str, coding: str = "identity", **query: str
) -> tuple[aiohttp.ClientResponse, list[dict[str, Any]]]:
    async with client.get(path, params=query, headers={"Accept-Encoding": coding}) as response:
        body = await response.read()
    assert response.status == 200, body
    return response, rows_of(
        unpack(body, response.headers.get("Content-Encoding")), response.content_type
    )


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of any format as JSON has it, its times as datetimes."""
    found = {name.replace("Hostname", "hostname"): value for name, value in row.items()}
    for name in ("timestamp", "first_seen", "last_seen"):
        if isinstance(found.get(name), str):
            found[name] = datetime.fromisoformat(found[name])
    if "value" in found:
        value = math.nan if found["value"] is None else float(found["value"])
        found["value"] = value if math.isfinite(value) else None
    return found


@pytest.mark.parametrize("name", Format)
@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
async def test_records_are_the_same_in_every_format(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, name: str, coding: str
) -> None:
    await add_block(pool, ODD, every(NOON, 0.5, 50), [*range(47), 0.1, math.nan, -math.inf])
    _, wanted = await get(client, PATH)
    response, found = await get(client, PATH, coding, format=name)
    assert response.content_type == Format(name).media_type
    assert len(found) == 50
    assert list(map(as_json, found)) == list(map(as_json, wanted))
    compressed = name != "parquet" and coding != "identity"
    assert response.headers.get("Content-Encoding") == (coding if compressed else None)
    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("name", Format)
@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
async def test_a_long_answer_is_streamed_whole_in_every_format(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, name: str, coding: str
) -> None:
    await add_many(pool, ODD, NOON, blocks=100, samples=200)
    await add_many(pool, Labels(metric="POWER"), NOON, blocks=10, samples=100)
    response, found = await get(client, PATH, coding, format=name)
    assert response.headers["Transfer-Encoding"] == "chunked"
    rows = list(map(as_json, found))
    assert [row["value"] for row in rows if row["metric_name"] == "TEMP"] == [*range(20_000)][::-1]
    assert len(rows) == 21_000
    assert {row["pod"] for row in rows} == {ODD.pod, ""}
    assert rows[0]["timestamp"] == NOON + timedelta(milliseconds=10 * 19_999)


@pytest.mark.parametrize("path", [GPUS, PATH])
@pytest.mark.parametrize("name", Format)
async def test_lists_follow_accept(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, path: str, name: Format
) -> None:
    await add_block(pool, ODD, [NOON], [1])
    _, wanted = await get(client, path)
    headers = {"Accept": f"text/html, {name.media_type};q=0.9, */*;q=0.1"}
    async with client.get(path, headers=headers) as response:
        assert response.content_type == name.media_type
        assert "Accept" in response.headers["Vary"]
        body = unpack(await response.read(), response.headers.get("Content-Encoding"))
    found = rows_of(body, response.content_type)
    assert list(map(as_json, found)) == list(map(as_json, wanted))


@pytest.mark.parametrize("name", Format)
async def test_an_empty_list_has_its_columns(client: aiohttp.ClientSession, name: str) -> None:
    response, found = await get(client, GPUS, format=name)
    assert found == []
    if name == "csv":
        assert (await response.text()).startswith("uuid,device,modelName,hostname,gpu_id,")


@pytest.mark.parametrize("path", [GPUS, PATH])
async def test_a_format_that_there_is_not_is_refused(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, path: str
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    async with client.get(path, headers={"Accept": "image/png"}) as response:
        assert response.status == 406
        refusal = await response.json()
    assert refusal["code"] == "not_acceptable"
    assert "image/png" in refusal["message"]
    assert "text/csv" in refusal["message"]
    async with client.get(path, params={"format": "xml"}) as response:
        assert response.status == 400
        assert "format: 'xml' is none of json, ndjson, csv" in (await response.json())["message"]


@pytest.mark.parametrize("path", [GPUS, PATH])
@pytest.mark.parametrize("coding", ["identity", "zstd"])
async def test_who_has_the_answer_is_not_sent_it_again(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, path: str, coding: str
) -> None:
    await add_block(pool, Labels(), every(NOON, 1, 40), range(40))
    headers = {"Accept-Encoding": coding}
    async with client.get(path, headers=headers) as response:
        tag = response.headers["ETag"]
    async with client.get(path, headers={**headers, "If-None-Match": f'"x", {tag}'}) as response:
        assert response.status == 304
        assert response.headers["ETag"] == tag
        assert await response.read() == b""
    await add_block(pool, Labels(), [NOON + timedelta(hours=1)], [7])
    async with client.get(path, headers={**headers, "If-None-Match": tag}) as response:
        assert response.status == 200
        assert response.headers["ETag"] != tag


@pytest.mark.parametrize("name", Format)
async def test_formats_have_tags_of_their_own(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, name: str
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    tags = {(await get(client, PATH, format=each))[0].headers["ETag"] for each in Format}
    assert len(tags) == len(Format)


async def test_a_short_body_is_not_compressed(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    response, found = await get(client, PATH, "gzip")
    assert "Content-Encoding" not in response.headers
    assert len(found) == 1


@pytest.mark.parametrize("path", [GPUS, PATH])
async def test_head_has_the_headers_alone(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, path: str
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    async with client.head(path, params={"format": "csv"}) as response:
        assert response.status == 200
        assert response.content_type == "text/csv"
        assert await response.read() == b""


async def test_an_answer_says_where_its_time_went(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    response, _ = await get(client, PATH)
    phases = [phase.split(";dur=") for phase in response.headers["Server-Timing"].split(", ")]
    spent = {name: float(took) for name, took in phases}
    assert set(spent) == {"store", "encode", "total"}
    assert 0 <= spent["store"] + spent["encode"] <= spent["total"] + 0.002


async def test_an_export_in_csv_is_ingested_again(
    pool: asyncpg.Pool, dsn: str, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    labels = Labels(pod='a "pod", with=é', hostname="host,1")
    await add_block(pool, labels, every(NOON, 0.25, 4), [1, 0.1, 1e-7, 2.0**60])
    landed = "SELECT * FROM telemetry ORDER BY 1"
    before = [tuple(map(str, row)) for row in await pool.fetch(landed)]
    async with client.get(PATH, params={"format": "csv"}) as response:
        (tmp_path / "export.csv").write_bytes(await response.read())
    await pool.execute("TRUNCATE sample_block, series, gpu, rollup_stale")
    ingest = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "ingest", "export.csv", "--timestamps", "source"),
        cwd=tmp_path,
        env={**os.environ, "GPUTEL_POSTGRES_DSN": dsn},
    )
    assert await ingest.wait() == 0
    assert [tuple(map(str, row)) for row in await pool.fetch(landed)] == before


async def test_a_list_in_no_format_that_there_is_is_not_read(
    client: aiohttp.ClientSession,
) -> None:
    paths = (
        "gpus",
        "hosts",
        "hosts/a/gpus",
        "metrics",
        "telemetry/latest",
        "telemetry/top?metric=a",
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for path in paths:
            async with client.get(f"/api/v1/{path}", headers={"Accept": "image/png"}) as response:
                assert response.status == 406
        gc.collect()
    assert [str(w.message) for w in told if "never awaited" in str(w.message)] == []
