"""OTLP until it is read back: by hand, and from OpenTelemetry's SDK."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.helpers import otlp
from tests.helpers.otlp import DELTA, Export, point
from tests.helpers.waiting import eventually
from tests.integration.pipeline.conftest import Pipeline
from tests.integration.pipeline.pushing import Api, api_of

PATH = "/v1/metrics"
ALIAS = "/api/v1/otlp/v1/metrics"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"


def gpu(number: int = 0, **more: str) -> dict[str, str]:
    return {"UUID": f"GPU-{number}", "Hostname": "h", **more}


def now_ns() -> int:
    return time.time_ns()


async def post(
    api: Api, body: bytes, kind: str = PROTOBUF, path: str = PATH, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    named = {"Content-Type": kind}
    named |= {name.replace("_", "-"): text for name, text in headers.items()}
    async with api.session.post(path, data=body, headers=named) as response:
        return response.status, await response.read(), dict(response.headers)


def partial(kind: str, body: bytes) -> tuple[int, str]:
    """The rejected points and the reason of an answer with the status 200."""
    if kind == JSON:
        told = json.loads(body).get("partialSuccess", {})
        return int(told.get("rejectedDataPoints", 0)), told.get("errorMessage", "")
    success = ExportMetricsServiceResponse.FromString(body).partial_success
    return success.rejected_data_points, success.error_message


async def pushed_records(api: Api) -> Counter[str]:
    """The counters of pushed records, by result."""
    async with api.session.get("/metrics") as response:
        text = await response.text()
    found = re.findall(r'^gputel_api_pushed_records_total{result="(\w+)"} (\S+)$', text, re.M)
    return Counter({result: int(float(count)) for result, count in found})


async def landed(pipeline: Pipeline, rows: int) -> None:
    async def check() -> bool:
        return await pipeline.landed() >= rows

    await eventually(check)
    assert await pipeline.landed() == rows


@pytest.mark.parametrize(
    ("kind", "path"), [(PROTOBUF, PATH), (PROTOBUF, ALIAS), (JSON, PATH), (JSON, ALIAS)]
)
async def test_what_is_exported_is_read_back_once(
    pipeline: Pipeline, api: Api, kind: str, path: str
) -> None:
    at = now_ns()
    export = Export({"service.name": "dcgm"}).gauge("T", point(41.5, at, gpu(0, pod="p")))
    export.total("E", point(7, at, gpu()))
    body = otlp.json(export) if kind == JSON else otlp.protobuf(export)
    packed = [gzip.compress(body, mtime=mtime) for mtime in (1, 2)]
    assert packed[0] != packed[1]
    for each in packed:
        status, answer, headers = await post(api, each, kind, path, Content_Encoding="gzip")
        assert (status, answer) == (200, b"{}" if kind == JSON else b"")
        assert headers["Content-Type"].partition(";")[0] == kind
    assert (await post(api, body, kind, path))[0] == 200
    last = Export().gauge("T", point(1, at + 1000, gpu(1)))
    assert (await post(api, otlp.protobuf(last)))[0] == 200
    await landed(pipeline, 3)
    assert await pipeline.pool.fetchval("SELECT count(*) FROM message_ledger") == 2
    records = await api.read("GPU-0")
    assert {(each["metric_name"], each["value"], each["pod"]) for each in records} == {
        ("T", 41.5, "p"),
        ("E", 7, ""),
    }
    assert 'job="dcgm"' in records[0]["labels_raw"]


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
async def test_points_that_are_refused_are_told_and_counted_and_the_others_land(
    pipeline: Pipeline, api: Api, kind: str
) -> None:
    at, before = now_ns(), await pushed_records(api)
    export = Export().gauge("T", point(1, at, gpu()), point(float("inf"), at, gpu(1)))
    export.total("D", *(point(n, at, gpu()) for n in range(3)), temporality=DELTA)
    export.gauge("go_goroutines", point(1, at, {"job": "x"})).gauge("X", point(1, 0, gpu()))
    export.others(gpu(), at)
    status, answer, _ = await post(
        api, otlp.json(export) if kind == JSON else otlp.protobuf(export), kind
    )
    rejected, message = partial(kind, answer)
    assert (status, rejected) == (200, 9)
    assert set(message.split("; ")) == {
        "sums are stored only with cumulative temporality (3 points)",
        "histograms are not stored (3 points)",
        "summaries are not stored (1 point)",
        "time_unix_nano is missing (1 point)",
        "value is not finite (1 point)",
    }
    await landed(pipeline, 1)
    assert await pushed_records(api) - before == Counter(
        accepted=1, delta=3, histogram=3, summary=1, no_time=1, no_gpu=1, rejected=1
    )


async def test_points_without_a_gpu_are_no_error(api: Api) -> None:
    export = Export({"service.name": "x"}).gauge("go_goroutines", point(1, now_ns(), {"a": "b"}))
    assert (await post(api, otlp.protobuf(export)))[:2] == (200, b"")
    assert (await post(api, b""))[:2] == (200, b"")


async def test_point_without_a_recorded_value_ends_its_series(pipeline: Pipeline, api: Api) -> None:
    at = now_ns()
    first = Export().gauge("T", point(1, at, gpu(0)), point(1, at, gpu(1)))
    assert (await post(api, otlp.protobuf(first)))[0] == 200
    await landed(pipeline, 2)
    ended = Export().gauge("T", point(None, at + 1_000_000, gpu(0), ended=True))
    assert (await post(api, otlp.protobuf(ended)))[0] == 200

    async def noted() -> bool:
        return bool(await pipeline.pool.fetchval("SELECT count(*) FROM series_end"))

    await eventually(noted)
    query = "SELECT uuid, ended_at IS NOT NULL FROM series ORDER BY uuid"
    assert await pipeline.pool.fetch(query) == [("GPU-0", True), ("GPU-1", False)]


@pytest.mark.parametrize(
    ("body", "kind", "coding", "status", "told"),
    [
        (b"", "text/plain", "", 415, "is neither application/x-protobuf nor application/json"),
        (b"", PROTOBUF, "br", 415, "is neither gzip nor zstd"),
        (b"x", PROTOBUF, "gzip", 400, "not gzip"),
        (b"\x0a\xff", PROTOBUF, "", 400, "no export of metrics in protobuf"),
        (b"{", JSON, "", 400, "no export of metrics in JSON"),
        (otlp.json(Export()), PROTOBUF, "", 400, "protobuf"),
        (gzip.compress(b"\x0a\x00" * 2**20), PROTOBUF, "gzip", 413, "--push-max-records"),
        (gzip.compress(bytes(17 * 2**20)), PROTOBUF, "gzip", 413, "--push-max-bytes"),
    ],
    ids=["type", "coding", "no gzip", "damaged", "cut off", "json", "empty messages", "bomb"],
)
async def test_other_bodies_are_refused_in_the_encoding_of_the_request(
    api: Api, body: bytes, kind: str, coding: str, status: int, told: str
) -> None:
    got, answer, headers = await post(api, body, kind, Content_Encoding=coding)
    assert got == status
    if kind == PROTOBUF:
        assert headers["Content-Type"] == PROTOBUF
        assert answer[:2] == b"\x08\x03"  # google.rpc.Status: code 3, then the message
        assert told in answer.decode()
    else:
        assert json.loads(answer)["code"] == 3
        assert told in json.loads(answer)["message"]


async def test_limits_of_a_client_and_of_the_broker_are_a_503(pipeline: Pipeline) -> None:
    body = otlp.protobuf(Export().gauge("T", point(1, now_ns(), gpu())))
    async with AsyncExitStack() as stack:
        async with pipeline.broker():
            limited = await stack.enter_async_context(
                api_of(pipeline, rate_limit=0.001, rate_burst=1)
            )
            assert (await post(limited, body))[0] == 200
            status, _, headers = await post(limited, body, path=ALIAS)
            assert (status, int(headers["Retry-After"]) > 0) == (503, True)
            api = await stack.enter_async_context(api_of(pipeline))
        status, answer, headers = await post(api, body)
    assert (status, headers["Content-Type"], answer[:2]) == (503, PROTOBUF, b"\x08\x0e")
    assert int(headers["Retry-After"]) > 0


class Gpus:
    """Instruments of two GPUs, as a program with OpenTelemetry's SDK has them."""

    def __init__(self, url: str) -> None:
        self.exporter = OTLPMetricExporter(f"{url}{PATH}", compression=Compression.Gzip)
        self.reader = PeriodicExportingMetricReader(self.exporter, export_interval_millis=1e9)
        resource = Resource({"service.name": "agent", "host.name": "h"})
        self.provider = MeterProvider([self.reader], resource, shutdown_on_exit=False)
        meter = self.provider.get_meter("gpus")
        self.temperature = 40
        meter.create_observable_gauge("hw.temperature", [self.read], "Cel")
        self.energy = meter.create_counter("hw.energy", "J")

    def read(self, _options: CallbackOptions) -> Iterable[Observation]:
        for number in range(2):
            yield Observation(self.temperature + number, self.attributes(number))

    def attributes(self, number: int) -> dict[str, str]:
        return {"hw.id": f"GPU-00000000-0000-4000-8000-00000000000{number}", "hw.type": "gpu"}

    def export(self) -> bool:
        """Whether the server took what there is now; it is tried again after a 503."""
        return self.provider.force_flush(60_000)


async def test_openTelemetrys_sdk_exports_also_over_an_outage_of_the_broker(
    pipeline: Pipeline,
) -> None:
    async with AsyncExitStack() as stack:
        async with pipeline.broker() as port:
            await pipeline.start_collector()
            api = await stack.enter_async_context(api_of(pipeline))
            gpus = Gpus(str(api.session._base_url).rstrip("/"))
            stack.callback(gpus.provider.shutdown)
            gpus.energy.add(5, gpus.attributes(0))
            assert await asyncio.to_thread(gpus.export)
            await landed(pipeline, 3)
        gpus.temperature = 50
        gpus.energy.add(2.5, gpus.attributes(0))
        exported = asyncio.create_task(asyncio.to_thread(gpus.export))
        await refused(api)
        async with pipeline.broker(port):
            assert await exported
            await landed(pipeline, 6)
            records = await api.read(gpus.attributes(0)["hw.id"])
    values = [(each["metric_name"], each["value"], each["hostname"]) for each in records]
    assert sorted(values) == [
        ("hw_energy", 5, "h"),
        ("hw_energy", 7.5, "h"),
        ("hw_temperature", 40, "h"),
        ("hw_temperature", 50, "h"),
    ]
    assert 'job="agent"' in records[0]["labels_raw"]


async def refused(api: Api) -> None:
    """Wait until the API has answered a 503 to an export."""

    async def check() -> bool:
        async with api.session.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        return any('status="503"' in line and "gputel_http" in line for line in lines)

    await eventually(check)


async def test_random_bytes_are_never_an_error_of_the_server(pipeline: Pipeline, api: Api) -> None:
    chance = random.Random(5)
    body = otlp.protobuf(Export().gauge("T", point(1, now_ns(), gpu())))
    for _ in range(100):
        damaged = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        kind = chance.choice([PROTOBUF, JSON])
        assert (await post(api, bytes(damaged), kind))[0] in (200, 400)
    assert (await post(api, body))[0] == 200
