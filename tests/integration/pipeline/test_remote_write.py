"""Remote write until it is read back: by hand, and from a real Prometheus in agent mode."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.remote_write import STALE, Written, request_2, snappy, write_request
from tests.helpers.senders import SENDERS, Sender, exporting, sending
from tests.helpers.waiting import eventually, until
from tests.integration.pipeline.conftest import Pipeline
from tests.integration.pipeline.pushing import Api, api_of

PATH = "/api/v1/write"
VERSION_1 = "application/x-protobuf"
VERSION_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def gpu(number: int, value: float, time_ms: int, **labels: str) -> Written:
    named = {"__name__": "TEMP", "UUID": f"GPU-{number}", "Hostname": "h", **labels}
    return Written(named, [(value, time_ms)])


async def write(
    api: Api, body: bytes, kind: str = VERSION_1, coding: str = "snappy"
) -> tuple[int, Any, dict[str, str]]:
    headers = {"Content-Type": kind} | ({"Content-Encoding": coding} if coding else {})
    async with api.session.post(PATH, data=body, headers=headers) as response:
        answer = await response.json() if response.status != 204 else None
        return response.status, answer, dict(response.headers)


async def landed(pipeline: Pipeline, rows: int) -> None:
    async def check() -> bool:
        return await pipeline.landed() >= rows

    await eventually(check)
    assert await pipeline.landed() == rows


async def test_same_bytes_sent_again_are_stored_once(pipeline: Pipeline, api: Api) -> None:
    at = now_ms()
    body = snappy(write_request([gpu(0, 41, at), gpu(1, 42, at)]))
    for coding in ("snappy", "snappy", ""):
        assert (await write(api, body, coding=coding))[0] == 204
    assert (await write(api, snappy(write_request([gpu(0, 43, at + 1)]))))[0] == 204
    await landed(pipeline, 3)
    assert [record["value"] for record in await api.read("GPU-0")] == [41, 43]


async def test_version_2_is_told_what_was_written(pipeline: Pipeline, api: Api) -> None:
    other = Written({"__name__": "up", "job": "x"}, [(1.0, now_ms())])
    body = snappy(request_2([gpu(0, 41, now_ms()), gpu(1, STALE, now_ms()), other]))
    status, _, headers = await write(api, body, VERSION_2)
    assert status == 204
    assert headers["X-Prometheus-Remote-Write-Samples-Written"] == "3"
    assert headers["X-Prometheus-Remote-Write-Histograms-Written"] == "0"
    await landed(pipeline, 1)


async def test_series_without_a_gpu_are_no_error(api: Api) -> None:
    other = Written({"__name__": "node_load1", "instance": "a:9100"}, [(1.0, now_ms())])
    status, _, headers = await write(api, snappy(write_request([other])))
    assert status == 204
    assert "X-Prometheus-Remote-Write-Samples-Written" not in headers


async def test_stale_marker_ends_its_series(pipeline: Pipeline, api: Api) -> None:
    at = now_ms()
    assert (await write(api, snappy(write_request([gpu(0, 41, at), gpu(1, 42, at)]))))[0] == 204
    await landed(pipeline, 2)
    ended = Written(gpu(0, 0, 0).labels, [(STALE, at + 1)])
    assert (await write(api, snappy(write_request([ended]))))[0] == 204

    async def noted() -> bool:
        return bool(await pipeline.pool.fetchval("SELECT count(*) FROM series_end"))

    await eventually(noted)
    assert await pipeline.landed() == 2
    query = "SELECT uuid, ended_at IS NOT NULL FROM series ORDER BY uuid"
    assert await pipeline.pool.fetch(query) == [("GPU-0", True), ("GPU-1", False)]


async def test_samples_that_are_refused_are_told_and_the_others_land(
    pipeline: Pipeline, api: Api
) -> None:
    body = snappy(write_request([gpu(0, 41, now_ms()), gpu(1, float("inf"), now_ms())]))
    status, answer, _ = await write(api, body)
    assert (status, answer["code"]) == (400, "bad_request")
    assert answer["message"] == (
        "1 of 2 samples of GPUs were not stored, the others were; the first of them: value is not "
        "finite"
    )
    await landed(pipeline, 1)


@pytest.mark.parametrize(
    ("body", "kind", "coding", "status", "told"),
    [
        (b"", "application/json", "snappy", 415, "is not application/x-protobuf"),
        (b"", "application/x-protobuf;proto=other.Message", "snappy", 415, "proto"),
        (b"", VERSION_1, "zstd", 415, "is not snappy"),
        (b"\xff\xff\xff\xff\xff", VERSION_1, "snappy", 413, "--push-max-bytes"),
        (b"", VERSION_1, "snappy", 400, "not snappy"),
        (b"\x05abc", VERSION_1, "snappy", 400, "not snappy"),
        (snappy(b"\x0a\xff"), VERSION_1, "snappy", 400, "no message of remote write"),
        (snappy(request_2([gpu(0, 1, 1)])), VERSION_1, "snappy", 204, ""),
    ],
    ids=["json", "proto", "zstd", "bomb", "empty", "cut off", "damaged", "2.0 as 1.0"],
)
async def test_other_bodies_are_refused(
    api: Api, body: bytes, kind: str, coding: str, status: int, told: str
) -> None:
    got, answer, _ = await write(api, body, kind, coding)
    assert got == status
    assert told in (answer["message"] if answer else "")


async def test_limits_of_a_client_are_a_503(pipeline: Pipeline) -> None:
    body = snappy(write_request([gpu(0, 41, now_ms())]))
    async with pipeline.broker(), api_of(pipeline, rate_limit=0.001, rate_burst=1) as api:
        assert (await write(api, body))[0] == 204
        status, answer, headers = await write(api, body)
        assert (status, answer["code"]) == (503, "busy")
        assert int(headers["Retry-After"]) > 0
        async with api.session.get("/api/v1/gpus") as response:
            assert response.status == 429


@pytest.mark.parametrize("sender", SENDERS)
async def test_what_a_sender_scrapes_lands_once_also_over_an_outage_of_the_broker(
    pipeline: Pipeline,
    tmp_path: Path,
    sender: Sender,
) -> None:
    async with AsyncExitStack() as stack:
        made, exporter_port = await stack.enter_async_context(exporting())
        async with pipeline.broker() as port:
            await pipeline.start_collector()
            api = await stack.enter_async_context(api_of(pipeline))
            url = f"{str(api.session._base_url).rstrip('/')}{PATH}"
            command = sender(tmp_path, exporter_port, url)
            await stack.enter_async_context(sending(command, tmp_path))
            await landed_at_least(pipeline, 4)
        seen = made.answers
        await until(lambda: made.answers >= seen + 5, 60, "scrapes without a broker")
        async with pipeline.broker(port):
            records: list[dict[str, Any]] = []

            async def all_are_there() -> bool:
                records[:] = await api.read("GPU-0")
                return {record["value"] for record in records} >= set(range(1, seen + 6))

            await eventually(all_are_there)  # vmagent sends newer samples before older ones
    values = [record["value"] for record in records]
    assert values[: seen + 5] == list(range(1, seen + 6))
    assert {(record["hostname"], record["pod"]) for record in records} == {("h", "p")}
    assert 'job="dcgm"' in records[0]["labels_raw"]


async def landed_at_least(pipeline: Pipeline, rows: int) -> None:
    async def check() -> bool:
        return await pipeline.landed() >= rows

    await eventually(check)
