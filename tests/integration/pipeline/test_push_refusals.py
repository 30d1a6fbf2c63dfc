"""Pushes that cannot be taken: wrong or large bodies, and a queue that is not there."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pyarrow as pa
import pytest

from tests.integration.pipeline.conftest import Pipeline
from tests.integration.pipeline.pushing import ARROW, CSV, JSON, NDJSON, Api, api_of, record
from tests.integration.pipeline.test_push import arrow_of

LIMIT = 64 * 1024


@pytest.fixture
async def api(pipeline: Pipeline) -> AsyncIterator[Api]:
    async with (
        pipeline.broker(),
        api_of(pipeline, push_max_bytes=LIMIT, push_max_records=100, push_max_days=10) as api,
    ):
        yield api


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        ("", JSON, "not JSON at record 0"),
        ("[", JSON, "not JSON at record 0"),
        (f"[{json.dumps(record())}", JSON, "not JSON at record 1"),
        (f"[{json.dumps(record())},]", JSON, "not JSON at record 1"),
        (f"{json.dumps(record())} x", JSON, "there is more text after its end"),
        ("[" * 60_000, JSON, "not JSON at record 0"),
        (b'["\xff"]', JSON, "the body is not UTF-8 text"),
        (b"\xff\n", NDJSON, "the body is not UTF-8 text"),
        ("", CSV, "the first line is blank"),
        ("a,b\n", CSV, "the header lacks columns metric_name, uuid, value"),
        ("timestamp,metric_name,uuid,value,color\n", CSV, "unknown column 'color'"),
        ("no arrow", ARROW, "the body is no Arrow IPC stream of records"),
        (b"", ARROW, "the body is no Arrow IPC stream of records"),
        (arrow_of({"uuid": pa.array(["a"])}), ARROW, "no column metric_name"),
        (
            arrow_of({n: pa.array(["a"]) for n in ("uuid", "metric_name", "value")}),
            ARROW,
            "column value is of type string",
        ),
        (
            arrow_of({n: pa.array(["a"]) for n in ("uuid", "metric_name", "value", "x")}),
            ARROW,
            "unknown column 'x'",
        ),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_what_it_says_is_a_bad_request(
    api: Api, body: str | bytes, kind: str, told: str
) -> None:
    status, answer = await api.push(body, kind)
    assert (status, answer["code"]) == (400, "bad_request")
    assert told in answer["message"]
    assert len(answer["message"]) < 500


async def test_json_that_is_sent_as_text_is_told_apart_from_text(api: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        for body in ("[]", '{"metric_name": "M", "uuid": "GPU-a", "value": 1}'):
            status, answer = await api.push(body, kind)
            assert (status, answer["code"]) == (400, "bad_request")
            assert "send Content-Type: application/json" in answer["message"]


async def test_other_content_types_are_refused(api: Api) -> None:
    for kind in ("text/html", "application/xml", "application/json-patch+json", "nonsense"):
        status, answer = await api.push("[]", kind)
        assert (status, answer["code"]) == (415, "unsupported_media_type"), kind
    status, answer = await api.push("[]", Content_Encoding="br")
    assert (status, answer["code"]) == (415, "unsupported_media_type")
    assert "neither gzip nor zstd" in answer["message"]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_body_that_is_not_compressed_as_it_says_is_a_bad_request(
    api: Api, coding: str
) -> None:
    text = json.dumps([record()]).encode()
    packed = gzip.compress(text) if coding == "gzip" else pa.compress(text, "zstd", asbytes=True)
    for body in (text, packed[: len(packed) // 2], b"\x1f\x8b"):
        status, answer = await api.push(body, Content_Encoding=coding)
        assert (status, answer["code"]) == (400, "bad_request")
        assert f"the body is not {coding}" in answer["message"]


async def test_a_body_over_the_limit_is_too_large(api: Api) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000

    for body in (b" " * (LIMIT + 1), endless()):
        status, answer = await api.push(body)  # type: ignore[arg-type]
        assert (status, answer["code"]) == (413, "payload_too_large")
        assert "--push-max-bytes of the api" in answer["message"]


async def test_a_body_that_is_too_large_once_unpacked_is_too_large(api: Api) -> None:
    bomb = b" " * 50_000_000
    for coding, packed in (
        ("gzip", gzip.compress(bomb)),
        ("zstd", pa.compress(bomb, "zstd", asbytes=True)),
    ):
        assert len(packed) < LIMIT
        status, answer = await api.push(packed, Content_Encoding=coding)
        assert (status, answer["code"]) == (413, "payload_too_large"), coding


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
async def test_an_arrow_stream_that_is_compressed_is_refused(api: Api, codec: str) -> None:
    long = pa.array([" " * 2_000_000])
    columns = {"uuid": long, "metric_name": pa.array(["M"]), "value": pa.array([1.0])}
    for each in (columns, {**columns, "uuid": long.dictionary_encode()}):
        body = arrow_of(each, codec)
        assert len(body) < LIMIT
        status, answer = await api.push(body, ARROW)
        assert (status, answer["code"]) == (400, "bad_request")
        assert "it is compressed" in answer["message"]


async def test_a_body_of_thousands_of_empty_gzips_is_refused(api: Api) -> None:
    body = gzip.compress(b"") * 1001
    status, answer = await api.push(body, Content_Encoding="gzip")
    assert (status, answer["code"]) == (400, "bad_request")
    assert "over 1000 members of gzip" in answer["message"]
    several = b"".join(gzip.compress(part) for part in (b"[", json.dumps(record()).encode(), b"]"))
    assert (await api.push(several, Content_Encoding="gzip"))[0] == 202


async def test_records_of_too_many_days_are_refused_and_the_limit_named(api: Api) -> None:
    days = [f"2024-01-{day:02}T00:00:00Z" for day in range(1, 12)]
    assert (await api.push(json.dumps([record(timestamp=day) for day in days[1:]])))[0] == 202
    status, answer = await api.push(json.dumps([record(timestamp=day) for day in days]))
    assert (status, answer["code"]) == (400, "bad_request")
    assert "11 days (UTC); at most 10 may be in one push (--push-max-days" in answer["message"]


async def test_too_many_records_are_too_large(api: Api) -> None:
    csv = "timestamp,metric_name,uuid,value\n" + "x\n" * 101
    arrow = arrow_of(
        {n: pa.array(["a"] * 101) for n in ("uuid", "metric_name")}
        | {"value": pa.array([1.0] * 101)}
    )
    for body, kind in (
        (f"[{','.join(['0'] * 101)}]", JSON),
        ("0\n" * 101, NDJSON),
        (csv, CSV),
        (arrow, ARROW),
    ):
        status, answer = await api.push(body, kind)
        assert (status, answer["code"]) == (413, "payload_too_large"), kind
        assert "over 100 records" in answer["message"]


async def test_while_the_broker_is_away_pushes_are_refused_and_reads_answered(
    pipeline: Pipeline,
) -> None:
    async with pipeline.broker() as port:
        pass
    async with api_of(pipeline) as api:
        status, answer = await api.push(json.dumps(record()))
        assert (status, answer["code"]) == (503, "broker_unavailable")
        async with api.session.get("/api/v1/gpus") as response:
            assert await response.json() == []
        async with api.session.get("/readyz") as response:
            assert response.status == 200
        async with pipeline.broker(port):
            assert (await api.pushed(json.dumps(record())))["accepted"] == 1


async def test_a_full_queue_is_told(pipeline: Pipeline) -> None:
    async with pipeline.broker(queue_max_messages=1), api_of(pipeline) as api:
        await api.pushed(json.dumps(record()))
        status, answer = await api.push(json.dumps(record()))
        assert (status, answer["code"]) == (503, "queue_full")


async def test_a_broker_that_is_stopping_is_away(pipeline: Pipeline) -> None:
    async with pipeline.broker(), api_of(pipeline) as api:
        async with api.session.post(f"{pipeline.url}/admin/drain") as response:
            assert response.status == 200
        status, answer = await api.push(json.dumps(record()))
        assert (status, answer["code"]) == (503, "broker_unavailable")


async def test_many_large_bodies_at_once_are_all_taken_in_turn(pipeline: Pipeline) -> None:
    await pipeline.pool.execute("SELECT 1")
    body = json.dumps([record(value, pod="x" * 100) for value in range(1000)])
    async with (
        pipeline.broker(),
        api_of(pipeline, push_requests_max_bytes=len(body) + 1) as api,
    ):
        answers = await asyncio.gather(*(api.pushed(body) for _ in range(10)))
        assert {answer["accepted"] for answer in answers} == {1000}
        assert len({answer["message_id"] for answer in answers}) == 10
