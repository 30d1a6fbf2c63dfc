"""A compressed Arrow stream is refused before anything is unpacked, however it says that it is."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest

from gputel.api.push.arrow_stream import batches

ROWS = 2_000_000  # of one value: some kilobytes compressed, 16 MB unpacked
TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema([("uuid", TEXT), ("note", pa.string()), ("value", pa.float64())])


def batch(rows: int, words: list[str]) -> pa.RecordBatch:
    codes = pa.array(np.zeros(rows, np.int32))
    columns = [
        pa.DictionaryArray.from_arrays(codes, pa.array(words)),
        pa.array([""] * rows),
        pa.array(np.zeros(rows)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def stream(*found: pa.RecordBatch, told: dict[str, str] | None = None, **options) -> bytes:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, SCHEMA, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for each in found:
            writer.write_batch(each, custom_metadata=told)
    return out.getvalue().to_pybytes()


def as_of_arrow_0_17(data: bytes) -> bytes:
    """The stream with the compression told by a key of the message alone, in metadata V4."""
    out = bytearray(data)
    at = 0
    while at + 8 <= len(out) and (length := struct.unpack_from("<I", out, at + 4)[0]):
        start = at + 8
        root = start + struct.unpack_from("<I", out, start)[0]
        header = root + _field(out, root, 2)[0]
        header += struct.unpack_from("<I", out, header)[0]
        if out[root + _field(out, root, 1)[0]] == 3:  # a record batch
            struct.pack_into("<h", out, root + _field(out, root, 0)[0], 3)
            struct.pack_into("<H", out, _field(out, header, 3)[1], 0)
        size = _field(out, root, 3)[0]
        at = start + length + (struct.unpack_from("<q", out, root + size)[0] if size else 0)
    return bytes(out)


def _field(data: bytearray, table: int, number: int) -> tuple[int, int]:
    """How far a field of a flatbuffer's table is from it, and where that is written."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    place = vtable + 4 + 2 * number
    if place - vtable >= struct.unpack_from("<H", data, vtable)[0]:
        return 0, 0
    return struct.unpack_from("<H", data, place)[0], place


def read(body: bytes) -> list[pa.RecordBatch]:
    return list(batches(body, lambda _schema: None))


@pytest.mark.parametrize(
    "made",
    [
        lambda: stream(batch(ROWS, ["a"]), compression="zstd"),
        lambda: stream(batch(ROWS, ["a"]), compression="lz4"),
        lambda: as_of_arrow_0_17(
            stream(
                batch(ROWS, ["a"]),
                told={"ARROW:experimental_compression": "zstd"},
                compression="zstd",
            )
        ),
        lambda: stream(batch(1, ["x" * 10_000_000]), compression="zstd"),
    ],
    ids=["zstd", "lz4", "as of Arrow 0.17", "a dictionary"],
)
def test_a_compressed_stream_is_refused_and_nothing_of_it_is_unpacked(made):
    body = made()
    unused = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    with pytest.raises(ValueError, match="it is compressed"):
        read(body)
    assert pool.max_memory() == before
    assert pa.total_allocated_bytes() <= unused + 1_000_000


def test_deltas_of_dictionaries_are_refused():
    body = stream(batch(3, ["a"]), batch(3, ["a", "b"]), emit_dictionary_deltas=True)
    with pytest.raises(ValueError, match="deltas of dictionaries"):
        read(body)


@pytest.mark.parametrize(
    "options",
    [{}, {"use_legacy_format": True}, {"metadata_version": pa.ipc.MetadataVersion.V4}],
    ids=["V5", "legacy", "V4"],
)
@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_what_is_not_compressed_is_read_as_it_was_written(options, rows):
    written = [batch(rows, ["a"]), batch(rows, ["b", "c"]), batch(rows, ["b", "c"])]
    assert read(stream(*written, **options)) == written


def test_dictionaries_that_are_replaced_again_and_again_take_no_memory():
    body = stream(*(batch(1, ["x" * 1000 + str(n)]) for n in range(500)))
    assert len(read(body)) == 500
