"""Remote write: every series of a body becomes records, in version 1.0 as in 2.0."""

from __future__ import annotations

import contextlib
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.sources.exposition.read_samples import LargeLabels, ReadSamples, TooManySamples
from gputel.sources.protobuf.reading import WireFlaw
from gputel.sources.remote_write.reader import RemoteWriteReader
from tests.helpers.remote_write import (
    STALE,
    Written,
    block,
    request_2,
    snappy,
    varint,
    write_request,
)

NOW_MS = 1_770_000_000_123


def series(gpu: int = 0, *samples: tuple[float, int], **labels: str) -> Written:
    named = {"__name__": "TEMP", "UUID": f"GPU-{gpu}", "instance": "node-1:9400", **labels}
    return Written(named, samples or [(41.5, NOW_MS)])


def body_of(version: int, *written: Written) -> bytes:
    return write_request(written) if version == 1 else request_2(written)


def rows(read: ReadSamples) -> list[tuple[str, str, int, float]]:
    return [
        (row["uuid"], row["pod"], round(row["timestamp"].timestamp() * 1000), row["value"])
        for row in read.batch.to_pylist()
    ]


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def test_each_sample_is_a_record(version: int) -> None:
    body = body_of(
        version,
        series(0),
        series(1, (0.0, NOW_MS), (-1.5, NOW_MS + 15_000), exported_pod="train", pod="exporter"),
    )
    reader = RemoteWriteReader()
    for _ in range(2):
        read = reader.read(body, version)
        assert rows(read) == [
            ("GPU-0", "", NOW_MS, 41.5),
            ("GPU-1", "train", NOW_MS, 0.0),
            ("GPU-1", "train", NOW_MS + 15_000, -1.5),
        ]
        (first, *_) = read.batch.to_pylist()
        assert first["hostname"] == "node-1"
        assert first["labels_raw"] == 'UUID="GPU-0",instance="node-1:9400"'


def test_what_is_no_record_is_counted(version: int) -> None:
    body = body_of(
        version,
        Written({"__name__": "node_load1", "instance": "a:9100"}, [(1.0, NOW_MS), (2.0, NOW_MS)]),
        series(0, (STALE, NOW_MS)),
        Written(series().labels, [], histograms=2, exemplars=1),
        series(1),
    )
    read = RemoteWriteReader().read(body, version)
    assert rows(read) == [("GPU-0", "", NOW_MS, 0.0), ("GPU-1", "", NOW_MS, 41.5)]
    assert read.ends.tolist() == [True, False]
    assert read.left_out == {"no_gpu": 2, "histogram": 2, "exemplar": 1}


def test_other_values_that_are_no_numbers_are_left_to_the_checks(version: int) -> None:
    body = body_of(version, series(0, (math.nan, NOW_MS), (math.inf, NOW_MS)))
    assert len(rows(RemoteWriteReader().read(body, version))) == 2


def test_body_without_series_has_no_records(version: int) -> None:
    for body in (b"", block(3, b"\x08\x01"), body_of(version)):
        assert RemoteWriteReader().read(body, version).batch.num_rows == 0


def test_known_labels_before_more_than_one_sample_are_read_right() -> None:
    reader = RemoteWriteReader()
    reader.read(write_request([series(0)]), 1)
    two = series(0, (1.0, NOW_MS), (2.0, NOW_MS + 1))
    for _ in range(2):
        read = reader.read(write_request([two]), 1)
        assert [row[3] for row in rows(read)] == [1.0, 2.0]


def test_labels_that_look_like_a_sample_are_labels() -> None:
    text = "\x12\x10\x09" + "x" * 8 + "\x10" + "\x01" * 6
    assert len(text) == 18
    written = Written({"__name__": "TEMP", "UUID": text}, [])
    assert RemoteWriteReader().read(write_request([written]), 1).batch.num_rows == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x0a\xff", "no end"),
        (b"\x0a\x05ab", "cut off"),
        (b"\x0b", "wire type 3"),
        (b"\xff" * 11, "no end"),
        (block(1, block(1, block(1, b"\xff"))), "not UTF-8"),
        (block(1, block(1, block(2, b"x"))), "without a name"),
        (write_request([Written({"UUID": "G"}, [(1.0, 1)])]), "no __name__"),
        (block(1, block(2, b"\x09" + bytes(4))), "cut off"),
        (block(1, block(2, b"\x0a\x01a")), "8 bytes"),
        (block(1, block(1, block(1, b"a") + block(2, b"b")) * 2), "twice"),
        (b"\x0a" + varint(1 << 40), "cut off"),
    ],
)
def test_damaged_body_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(WireFlaw, match=reason):
        RemoteWriteReader().read(body, 1)


@pytest.mark.parametrize("refs", [b"\x01", b"\x01\x09", b"\x01\x02\x03"])
def test_symbols_that_are_not_there_are_refused(refs: bytes) -> None:
    body = block(4, b"") + block(4, b"__name__") + block(4, b"x") + block(5, block(1, refs))
    with pytest.raises(WireFlaw, match="symbols"):
        RemoteWriteReader().read(body, 2)


def test_samples_and_symbols_are_bounded_however_small_they_are(version: int) -> None:
    many = Written(series().labels, [(0.0, 0)] * 101)
    with pytest.raises(TooManySamples):
        RemoteWriteReader().read(body_of(version, many), version, 100)
    two = [Written({**series().labels, "n": str(n)}, [(0.0, 0)] * 51) for n in range(2)]
    with pytest.raises(TooManySamples):
        RemoteWriteReader().read(body_of(version, *two), version, 100)
    with pytest.raises(WireFlaw, match="500000 symbols"):
        RemoteWriteReader().read(block(4, b"") * 500_001, 2)


def test_symbol_of_many_series_does_not_multiply_without_a_bound() -> None:
    text = block(4, b"") + block(4, b"__name__") + block(4, b"UUID") + block(4, b"x" * 100_000)
    body = text + block(5, block(1, bytes([1, 2, 2, 3])) + block(2, b"\x10\x01")) * 1000
    with pytest.raises(LargeLabels):
        RemoteWriteReader().read(body, 2)


def test_time_of_over_64_bits_is_cut_to_64(version: int) -> None:
    body = body_of(version, series(0, (1.0, -1)))
    longer = body.replace(b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f")
    assert longer != body
    assert rows(RemoteWriteReader().read(longer, version)) == [("GPU-0", "", -1, 1.0)]


def test_any_damage_is_a_flaw_or_a_batch(version: int) -> None:
    chance = random.Random(7)
    body = body_of(version, *(series(gpu, (gpu, NOW_MS), pod="p") for gpu in range(5)))
    reader = RemoteWriteReader()
    for _ in range(3000):
        damaged = bytearray(body)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        damaged = damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])]
        with contextlib.suppress(WireFlaw):
            reader.read(bytes(damaged), version)
    assert len(rows(reader.read(body, version))) == 5


LABELS = st.dictionaries(
    st.sampled_from(["UUID", "gpu", "pod", "job", "a"]), st.text(max_size=20), max_size=5
)
SAMPLES = st.lists(
    st.tuples(st.floats(allow_nan=False), st.integers(0, 4_000_000_000_000)), max_size=3
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.tuples(LABELS, SAMPLES), max_size=4), max_size=4),
    st.booleans(),
)
def test_reader_that_remembers_reads_as_a_new_one(
    bodies: list[list[tuple[dict[str, str], list[tuple[float, int]]]]], leave_out_zeros: bool
) -> None:
    reader = RemoteWriteReader()
    for body in bodies:
        written = [Written({"__name__": "M", **labels}, samples) for labels, samples in body]
        one = write_request(written, leave_out_zeros=leave_out_zeros)
        read, new = reader.read(one, 1), RemoteWriteReader().read(one, 1)
        two = RemoteWriteReader().read(request_2(written), 2)
        assert read.batch.to_pylist() == new.batch.to_pylist() == two.batch.to_pylist()
        assert read.left_out == new.left_out == two.left_out
        total = sum(len(samples) for _, samples in body)
        assert read.batch.num_rows + read.left_out["no_gpu"] == total


def test_snappy_of_the_helper_is_a_block_with_its_size() -> None:
    assert snappy(b"x" * 300)[:2] == varint(300)
