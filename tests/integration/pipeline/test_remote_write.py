"""Remote write until it is read back: by hand, and from a real Prometheus in agent mode."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.helpers.processes import free_port
from tests.helpers.remote_write import STALE, Written, request_2, snappy, write_request
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


class Exporter:
    """Answers as dcgm-exporter does: two GPUs, whose temperature counts the answers."""

    def __init__(self) -> None:
        self.answers = 0

    async def metrics(self, _request: web.Request) -> web.Response:
        self.answers += 1
        lines = [
            f'DCGM_FI_DEV_GPU_TEMP{{gpu="{number}",UUID="GPU-{number}",Hostname="h",pod="p"}} '
            f"{self.answers}\n"
            for number in range(2)
        ]
        return web.Response(text="".join([*lines, "go_goroutines 12\n"]))


@pytest.fixture
async def exporter() -> AsyncIterator[tuple[Exporter, int]]:
    made = Exporter()
    app = web.Application()
    app.router.add_get("/metrics", made.metrics)
    async with TestServer(app) as server:
        assert server.port is not None
        yield made, server.port


SCRAPES = (
    "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n"
    "scrape_configs:\n"
    "- job_name: dcgm\n"
    "  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
)
WRITES = (
    "remote_write:\n- url: {url}\n"
    "  queue_config: {{batch_send_deadline: 200ms, max_backoff: 200ms}}\n"
)


def prometheus(directory: Path, exporter_port: int, url: str) -> list[str]:
    """A Prometheus in agent mode that scrapes the exporter and writes to a URL."""
    config = directory / "prometheus.yml"
    config.write_text(SCRAPES.format(port=exporter_port) + WRITES.format(url=url))
    return [
        *("prometheus", "--enable-feature=agent", f"--config.file={config}"),
        f"--storage.agent.path={directory / 'agent'}",
        f"--web.listen-address=127.0.0.1:{free_port()}",
    ]


def vmagent(directory: Path, exporter_port: int, url: str) -> list[str]:
    """The same with VictoriaMetrics' agent."""
    config = directory / "vmagent.yml"
    config.write_text(SCRAPES.format(port=exporter_port))
    return [
        *("vmagent", f"-promscrape.config={config}", f"-remoteWrite.url={url}"),
        f"-remoteWrite.tmpDataPath={directory / 'agent'}",
        "-remoteWrite.flushInterval=200ms",
        f"-httpListenAddr=127.0.0.1:{free_port()}",
    ]


@asynccontextmanager
async def sending(command: list[str], directory: Path) -> AsyncIterator[None]:
    """Run a sender; its log is printed at the end."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()  # when it is told to end, it tries for a minute to send the rest
        await asyncio.to_thread(process.wait, 60)
        print((directory / "log").read_text())


@pytest.mark.parametrize("sender", [prometheus, vmagent])
async def test_what_a_sender_scrapes_lands_once_also_over_an_outage_of_the_broker(
    pipeline: Pipeline,
    exporter: tuple[Exporter, int],
    tmp_path: Path,
    sender: Callable[[Path, int, str], list[str]],
) -> None:
    if shutil.which(sender.__name__) is None:
        pytest.skip(f"{sender.__name__} is not installed")
    made, exporter_port = exporter
    async with AsyncExitStack() as stack:
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
