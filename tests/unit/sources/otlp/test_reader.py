"""OTLP: the same records from protobuf as from JSON, as opentelemetry-proto writes them."""

from __future__ import annotations

import contextlib
import gzip
import math
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.sources.exposition.read_samples import LargeLabels, ReadSamples, TooManySamples
from gputel.sources.otlp.json import JsonFlaw
from gputel.sources.otlp.reader import OtlpReader
from gputel.sources.protobuf.reading import WireFlaw
from tests.helpers import otlp
from tests.helpers.otlp import DELTA, Export, point
from tests.helpers.remote_write import block

NOW = 1_770_000_000_123_456_789
GPU = {"UUID": "GPU-1", "gpu": "0", "Hostname": "h"}
Read = Callable[..., ReadSamples]


def protobuf(*exports: Export, most: int = 1000) -> ReadSamples:
    return OtlpReader().read_protobuf(otlp.protobuf(*exports), most)


def json(*exports: Export, most: int = 1000) -> ReadSamples:
    return OtlpReader().read_json(otlp.json(*exports), most)


@pytest.fixture(params=[protobuf, json])
def read(request: pytest.FixtureRequest) -> Read:
    function: Read = request.param
    return function


def rows(read: ReadSamples) -> list[tuple[str, str, float]]:
    return [(row["metric_name"], row["uuid"], row["value"]) for row in read.batch.to_pylist()]


def labels(read: ReadSamples) -> dict[str, Any]:
    (row,) = read.batch.to_pylist()
    assert isinstance(row, dict)
    return row


def test_gauges_and_cumulative_sums_are_records(read: Read) -> None:
    export = Export().gauge("DCGM_FI_DEV_GPU_TEMP", point(41.5, NOW, GPU), point(7, NOW + 1, GPU))
    export.total("DCGM_FI_DEV_TOTAL_ENERGY", point(2**62, NOW, GPU), point(-3, NOW + 1000, GPU))
    export.gauge("zero", point(0.0, NOW, GPU), point(0, NOW, GPU))
    made = read(export)
    assert rows(made) == [
        ("DCGM_FI_DEV_GPU_TEMP", "GPU-1", 41.5),
        ("DCGM_FI_DEV_GPU_TEMP", "GPU-1", 7.0),
        ("DCGM_FI_DEV_TOTAL_ENERGY", "GPU-1", float(2**62)),
        ("DCGM_FI_DEV_TOTAL_ENERGY", "GPU-1", -3.0),
        ("zero", "GPU-1", 0.0),
        ("zero", "GPU-1", 0.0),
    ]
    times = made.batch.column("timestamp").view("int64").to_pylist()
    assert times[:4] == [NOW // 1000, NOW // 1000, NOW // 1000, NOW // 1000 + 1]
    assert made.left_out == {}
    assert not made.ends.any()


def test_points_that_are_not_stored_are_counted_by_reason(read: Read) -> None:
    export = Export().total("D", point(1, NOW, GPU), point(2, NOW, GPU), temporality=DELTA)
    export.total("U", point(1, NOW, GPU), temporality=0).others(GPU, NOW)
    export.gauge("", point(1, NOW, GPU)).gauge("T", point(1, 0, GPU))
    export.gauge("V", point(None, NOW, GPU)).gauge("N", point(1, NOW, {"job": "x"}))
    for value in ([1], {"a": 1}, b"x"):
        export.gauge("L", point(1, NOW, {**GPU, "list": value}))
    made = read(export)
    assert made.batch.num_rows == 0
    assert made.left_out == {
        "delta": 3,
        "histogram": 3,
        "summary": 1,
        "no_name": 1,
        "no_time": 1,
        "no_value": 1,
        "no_gpu": 1,
        "list_attribute": 3,
    }


def test_no_recorded_value_and_stale_nan_end_the_series(read: Read) -> None:
    stale = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
    export = Export().gauge("T", point(None, NOW, GPU, ended=True), point(1.0, NOW, GPU))
    made = read(export)
    assert made.ends.tolist() == [True, False]
    assert protobuf(Export().gauge("T", point(stale, NOW, GPU))).ends.tolist() == [True]


def test_values_that_are_not_finite_are_left_to_the_checks(read: Read) -> None:
    export = Export().gauge("T", *(point(value, NOW, GPU) for value in (math.nan, -math.inf)))
    first, second = (value for *_, value in rows(read(export)))
    assert math.isnan(first)
    assert second == -math.inf


def test_attributes_become_labels_as_prometheus_translates_them(read: Read) -> None:
    resource = {
        "service.name": "dcgm", "service.namespace": "gpu", "service.instance.id": "gpu1:9400",
        "process.command_args": ["a", "b"], "none": None, "a": "resource",
    }  # fmt: skip
    point_attributes = {
        "UUID": "GPU-1", "a": "point", "x.y": "2", "x-y": "1", "1st": True, "n": -5, "f": 2.0,
        "g": 0.25, "empty": "", "__name__": "other",
    }  # fmt: skip
    row = labels(read(Export(resource).gauge("hw.gpu/1", point(1, NOW, point_attributes))))
    assert row["metric_name"] == "hw_gpu_1"
    assert row["hostname"] == "gpu1"
    assert row["labels_raw"] == (
        'UUID="GPU-1",a="point",f="2",g="0.25",instance="gpu1:9400",job="gpu/dcgm",'
        'key_1st="true",n="-5",x_y="1;2"'
    )


RANDOM = "627cc493-f310-47de-96bd-71410b7dec09"


@pytest.mark.parametrize(
    ("resource", "attributes", "columns"),
    [
        (
            {"host.name": "h", "service.instance.id": RANDOM},
            {"hw.id": f"GPU-{RANDOM}", "hw.type": "gpu", "hw.model": "H100", "hw.vendor": "NVIDIA"},
            {"uuid": f"GPU-{RANDOM}", "hostname": "h", "model_name": "H100"},
        ),
        ({"host.name": "h"}, {"hw.id": "1", "hw.name": "H100"}, {"uuid": "gpu1@h"}),
        ({"host.name": "h"}, {"hw.id": "0000:8D:00.0"}, {"uuid": "0000:8D:00.0@h"}),
        ({"host.name": "h"}, {"hw.id": "1", "hw.serial_number": "S7"}, {"uuid": "S7"}),
        (
            {"service.instance.id": RANDOM},
            {"model": "A100", "gpu_number": "3", "uuid": "GPU-3"},
            {"uuid": "GPU-3", "gpu_id": "3", "model_name": "A100", "hostname": ""},
        ),
        (
            {"gpu.uuid": "GPU-3", "gpu.number": "3", "gpu.model": "A100", "host.name": "pod-1",
             "k8s.node.name": "n", "k8s.pod.name": "p", "k8s.namespace.name": "s"},
            {},
            {"uuid": "GPU-3", "gpu_id": "3", "model_name": "A100", "hostname": "n", "pod": "p",
             "namespace": "s"},
        ),
    ],
    ids=["semconv", "number", "address", "serial", "google 1", "google 2"],
)  # fmt: skip
def test_gpus_of_other_conventions_are_known(
    read: Read, resource: dict[str, str], attributes: dict[str, str], columns: dict[str, str]
) -> None:
    row = labels(read(Export(resource).gauge("hw.gpu.power", point(1, NOW, attributes))))
    assert {name: row[name] for name in columns} == columns


def test_hardware_that_is_no_gpu_has_no_records(read: Read) -> None:
    other = {"hw.id": RANDOM, "hw.type": "fan", "host.name": "h"}
    assert read(Export().gauge("hw.power", point(1, NOW, other))).left_out == {"no_gpu": 1}


@pytest.mark.parametrize("name", ["hw.id", "gpu", "gpu_number"])
def test_number_of_a_gpu_without_a_host_names_none(read: Read, name: str) -> None:
    export = Export({"service.instance.id": RANDOM}).gauge("T", point(1, NOW, {name: "0"}))
    assert read(export).left_out == {"no_gpu": 1}


def test_points_are_bounded_also_refused_ones(read: Read) -> None:
    six = Export().gauge("T", point(1, NOW, GPU), point(2, NOW, {})).others(GPU, NOW)
    read(six, most=6)
    with pytest.raises(TooManySamples):
        read(six, most=5)


def test_reader_that_remembers_reads_as_a_new_one() -> None:
    reader = OtlpReader()
    bodies = [
        otlp.protobuf(Export({"host.name": host}).gauge("T", point(value, NOW, attributes)))
        for host in ("h", "i")
        for attributes in ({"gpu": "0"}, {"x": "y"})
        for value in (1, 2)
    ]
    for body in bodies * 2:
        made, new = reader.read_protobuf(body), OtlpReader().read_protobuf(body)
        assert made.batch.to_pylist() == new.batch.to_pylist()
        assert made.left_out == new.left_out


ONE_POINT = block(1, b"T") + block(5, block(1, b""))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x0a\xff", "no end"),
        (b"\x0a\x05ab", "cut off"),
        (b"\x0b", "wire type 3"),
        (block(1, block(2, block(2, block(1, b"\xff")))), "not UTF-8"),
        (block(1, block(2, block(2, block(5, block(1, b"\x1a\x01a"))))), "8 bytes"),
        (block(1, block(2, block(2, b"\x78\x01" * 25_000))), "mostly empty fields"),
        (block(1, block(1, b"\x78\x01" * 9000) + block(2, block(2, ONE_POINT))),
         "mostly empty fields"),
    ],
)  # fmt: skip
def test_damaged_protobuf_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(WireFlaw, match=reason):
        OtlpReader().read_protobuf(body)


def points_in_json(text: str) -> bytes:
    metric = f'{{"name":"T","gauge":{{"dataPoints":[{text}]}}}}'
    return f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}'.encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"resourceMetrics":[1]}', r"resourceMetrics\[0\]|\[\.\.\.\]"),
        (b'{"x":' + b"[" * 100_000, "recursion"),
        (b'{"resourceMetrics":[' + b"{}," * 10_000 + b"{}]}", "mostly empty objects"),
        (points_in_json('{"timeUnixNano":"x"}'), "timeUnixNano is no whole number: 'x'"),
        (points_in_json('{"timeUnixNano":-1}'), "does not fit 64 bits"),
        (points_in_json('{"timeUnixNano":"1","asInt":"99999999999999999999"}'), "does not fit"),
        (points_in_json('{"timeUnixNano":"1","asDouble":"x"}'), "asDouble is no number"),
        (points_in_json('{"timeUnixNano":"1","asDouble":"1_0"}'), "asDouble is no number"),
        (points_in_json('{"timeUnixNano":"1_0"}'), "timeUnixNano is no whole number"),
        (points_in_json('{"timeUnixNano":{"low":1}}'), "timeUnixNano"),
        (points_in_json('{"attributes":[{"key":"\xff"}]}').replace(b"\xc3", b""), "utf-8"),
    ],
)
def test_damaged_json_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(JsonFlaw, match=reason):
        OtlpReader().read_json(body)


def test_json_may_have_nulls_numbers_unknown_fields_and_names_of_enums() -> None:
    body = b"""{"resourceMetrics": [{"resource": null, "new": [{"a": [1]}], "scopeMetrics": [
        {"scope": {"name": "s"}, "metrics": [{"name": "T", "description": null, "sum": {
        "aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": true,
        "dataPoints": [{"timeUnixNano": 1770000000123456789, "asInt": 5, "asDouble": null,
        "exemplars": [{"traceId": "5B8EFFF798038103D269B633813FC60C"}],
        "attributes": [{"key": "UUID", "value": {"stringValue": "GPU-1", "bytesValue": null}}]
        }]}}]}]}]}"""
    assert rows(OtlpReader().read_json(body)) == [("T", "GPU-1", 5.0)]


MANY = {str(number): "x" for number in range(513)}
LARGE = {"text": "x" * 5000}


@pytest.mark.parametrize("attributes", [MANY, LARGE])
def test_points_with_many_or_large_attributes_are_refused_alone(
    read: Read, attributes: dict[str, str]
) -> None:
    good, own = Export(GPU).gauge("T", point(1, NOW, {})), Export(GPU)
    shared = Export(GPU | attributes).gauge("T", point(2, NOW, {}), point(3, NOW, {}))
    made = read(own.gauge("T", point(4, NOW, attributes)), shared, good)
    assert rows(made) == [("T", "GPU-1", 1.0)]
    assert made.left_out == {"large": 3}


def test_resource_of_many_series_does_not_multiply_without_a_bound(read: Read) -> None:
    points = [point(1, NOW, {"n": number}) for number in range(20_000)]
    with pytest.raises(LargeLabels):
        read(Export(GPU | {"text": "x" * 4000}).gauge("T", *points), most=20_000)


def test_list_of_a_resource_is_no_large_label(read: Read) -> None:
    made = read(Export(GPU | {"command": ["x" * 5000]}).gauge("T", point(1, NOW, {})))
    assert rows(made) == [("T", "GPU-1", 1.0)]


@pytest.mark.parametrize("number", [1, 2])
def test_body_of_empty_messages_is_refused_after_few_of_them(number: int) -> None:
    body = b"\x0a\x00" * 5000 if number == 1 else block(1, b"\x12\x00" * 5000)
    assert len(gzip.compress(body)) < 200
    with pytest.raises(TooManySamples):
        OtlpReader().read_protobuf(body, 1000)


def test_numbers_of_over_64_bits_are_cut_to_64() -> None:
    attributes = [("UUID", block(1, b"GPU-1")), ("n", b"\x18" + b"\xff" * 9 + b"\x7f")]
    packed = b"".join(
        block(7, block(1, name.encode()) + block(2, value)) for name, value in attributes
    )
    made = block(1, b"\x19" + NOW.to_bytes(8, "little") + b"\x31" + bytes(8) + packed)
    body = block(1, block(2, block(2, block(1, b"T") + block(5, made))))
    assert labels(OtlpReader().read_protobuf(body))["labels_raw"] == 'UUID="GPU-1",n="-1"'


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=9)
)
NAMES = st.sampled_from(["UUID", "gpu", "hw.id", "host.name", "service.name", "a.b", "a-b", "1"])
ATTRIBUTES = st.dictionaries(NAMES | st.text(max_size=3), VALUES | st.lists(VALUES), max_size=4)
POINTS = st.lists(
    st.builds(
        point,
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
        st.integers(0, 2**64 - 1),
        ATTRIBUTES,
        ended=st.booleans(),
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ATTRIBUTES, st.text(max_size=5), POINTS, st.booleans()), max_size=3))
def test_protobuf_and_json_give_the_same(
    made: list[tuple[dict[str, Any], str, list[Any], bool]],
) -> None:
    exports = [
        Export(resource).gauge(name, *points) if is_gauge else Export(resource).total(name, *points)
        for resource, name, points, is_gauge in made
    ]
    one, two = protobuf(*exports), json(*exports)
    assert one.batch.to_pylist() == two.batch.to_pylist()
    assert one.left_out == two.left_out
    assert one.ends.tolist() == two.ends.tolist()
    points = sum(len(each[2]) for each in made)
    assert one.batch.num_rows + sum(one.left_out.values()) == points


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_flaw_or_a_batch(body: bytes) -> None:
    with contextlib.suppress(WireFlaw):
        OtlpReader().read_protobuf(body)
    with contextlib.suppress(JsonFlaw):
        OtlpReader().read_json(body)


@pytest.mark.parametrize("write", [otlp.protobuf, otlp.json])
def test_any_damage_is_a_flaw_or_a_batch(write: Callable[..., bytes]) -> None:
    chance = random.Random(7)
    export = Export({"host.name": "h", "list": [1]}).gauge("T", point(1.5, NOW, GPU))
    body = write(export.total("S", point(2, NOW, {**GPU, "f": 0.5})).others(GPU, NOW))
    reader = OtlpReader()
    take = reader.read_protobuf if write is otlp.protobuf else reader.read_json
    for _ in range(3000):
        damaged = bytearray(body)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(WireFlaw, JsonFlaw):
            take(bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])]))
    assert len(rows(take(body))) == 2
