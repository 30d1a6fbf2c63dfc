"""Small payloads that unpack to much are refused before any of it is unpacked."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from gputel.errors import DecodeError
from gputel.model.columns import LABELS, SCHEMA, TIMESTAMP_TYPE
from gputel.model.record_batch import PayloadLimits, decode, encode
from gputel.model.unpacked import unpacked_bound
from tests.helpers.batches import NOON, batch, labels, steady

LIMIT = 1024 * 1024
V4, V5 = pa.ipc.MetadataVersion.V4, pa.ipc.MetadataVersion.V5


def zeros(rows: int, **options: Any) -> bytes:
    """A batch of nothing but zeros, which packs very well."""
    wide, narrow = pa.py_buffer(np.zeros(rows, np.int64)), pa.py_buffer(np.zeros(rows, np.int32))
    codes = pa.Array.from_buffers(pa.int32(), rows, [None, narrow])
    label = pa.DictionaryArray.from_arrays(codes, pa.array(["x"]), safe=False)
    times = pa.Array.from_buffers(TIMESTAMP_TYPE, rows, [None, wide])
    values = pa.Array.from_buffers(pa.float64(), rows, [None, wide])
    columns = [times, *[label] * len(LABELS), values]
    return written(pa.RecordBatch.from_arrays(columns, schema=SCHEMA), **options)


def written(records: pa.RecordBatch, custom: dict[str, str] | None = None, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(records, custom_metadata=custom)
    payload: bytes = sink.getvalue().to_pybytes()
    return payload


@pytest.mark.parametrize("rows", [30_000, 200_000, 2_000_000])
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_bomb_is_refused_and_takes_no_memory(compression: str, rows: int) -> None:
    payload = zeros(rows, compression=compression)
    before = pa.total_allocated_bytes()
    with pytest.raises(DecodeError, match="can take more than 1048576 bytes unpacked"):
        decode(payload, PayloadLimits(max_bytes=LIMIT))
    assert pa.total_allocated_bytes() - before < LIMIT


def test_a_size_that_lies_is_refused_whatever_it_says() -> None:
    payload = bytearray(zeros(1000, compression="zstd"))
    at = payload.index(b"\x28\xb5\x2f\xfd") - 8
    for size in (2**40, 2**62, -2, -(2**62)):
        payload[at : at + 8] = struct.pack("<q", size)
        with pytest.raises(DecodeError):
            decode(bytes(payload), PayloadLimits(max_bytes=LIMIT))


def test_a_damaged_frame_that_claims_much_is_the_payload_s_fault_and_no_lack_of_memory() -> None:
    payload = bytearray(zeros(1000, compression="zstd"))
    at = payload.index(b"\x28\xb5\x2f\xfd") - 8
    payload[at : at + 12] = struct.pack("<q", 2**50) + b"none"
    with pytest.raises(DecodeError):
        decode(bytes(payload), PayloadLimits(max_bytes=LIMIT))


def test_frames_that_are_passed_over_do_not_hide_a_bomb() -> None:
    inner = pa.compress(bytes(8_000_000), codec="zstd", asbytes=True)
    skipped = struct.pack("<II", 0x184D2A51, 4) + b"skip"
    body = struct.pack("<q", 8_000_000) + skipped + inner
    words = np.frombuffer(body[: len(body) // 8 * 8], np.int64)
    # As values of an uncompressed batch nobody unpacks them ...
    values = pa.array(words.view(np.float64))
    rows = [(labels(), NOON, 0.0)] * len(words)
    records = batch(rows)
    records = pa.RecordBatch.from_arrays([*records.columns[:-1], values], schema=SCHEMA)
    assert unpacked_bound(written(records), LIMIT) < LIMIT
    # ... and as a compressed buffer somebody does.
    packed = written(records, compression="zstd")
    assert unpacked_bound(packed, LIMIT) < LIMIT


@pytest.mark.parametrize("word", [0xFD2FB528, 0x184D2204, 0x184D2A50])
def test_numbers_that_look_like_a_bomb_are_numbers(word: int) -> None:
    values = np.array([1 << 50, word] * 500, np.int64).view(np.float64)
    records = batch([(labels(), NOON, 0.0)] * 1000)
    records = pa.RecordBatch.from_arrays([*records.columns[:-1], pa.array(values)], schema=SCHEMA)
    for compression in (None, "lz4"):
        again = decode(written(records, compression=compression), PayloadLimits(max_bytes=LIMIT))
        assert again.column("value").to_numpy().view(np.int64).tolist() == [1 << 50, word] * 500


@pytest.mark.parametrize("version", [V4, V5])
@pytest.mark.parametrize("custom", [None, {"ARROW:experimental_compression": "zstd"}])
def test_the_bound_holds_however_the_stream_says_that_it_is_packed(
    version: Any, custom: dict[str, str] | None
) -> None:
    payload = zeros(300_000, custom=custom, compression="zstd", metadata_version=version)
    before = pa.total_allocated_bytes()
    with pytest.raises(DecodeError):
        decode(payload, PayloadLimits(max_bytes=LIMIT))
    assert pa.total_allocated_bytes() - before < LIMIT


@pytest.mark.parametrize("rows", [1, 1000, 131_072])
def test_what_producers_send_is_within_the_bound(rows: int) -> None:
    payload = encode(steady(rows))
    unpacked = decode(payload).nbytes
    assert unpacked <= unpacked_bound(payload, 2**40) <= max(25 * unpacked, 50_000)
