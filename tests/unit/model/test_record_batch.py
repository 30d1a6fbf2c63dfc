import random

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gputel.errors import DecodeError
from gputel.model.columns import LABEL_TYPE, LABELS, SCHEMA, TIMESTAMP_TYPE
from gputel.model.record_batch import PayloadLimits, decode, encode

START_US = 1_752_871_354_000_000
FIELDS = [field.name for field in SCHEMA]


def batch(rows: int = 3, **columns: pa.Array) -> pa.RecordBatch:
    arrays = {"timestamp": pa.array([START_US + row for row in range(rows)], TIMESTAMP_TYPE)}
    for name in LABELS:
        values = [f"{name} {row % 2}" for row in range(rows)]
        arrays[name] = pa.array(values, pa.string()).dictionary_encode().cast(LABEL_TYPE)
    arrays["value"] = pa.array([float(row) for row in range(rows)], pa.float64())
    return pa.RecordBatch.from_arrays(list((arrays | columns).values()), schema=SCHEMA)


def stream(schema: pa.Schema, *batches: pa.RecordBatch, **options) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for one in batches:
            writer.write_batch(one)
    return sink.getvalue().to_pybytes()


def labels(indices: list[int], dictionary: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(dictionary))


@pytest.mark.parametrize("rows", [0, 1, 3, 40_000])
def test_batch_comes_back_as_it_went(rows):
    original = batch(rows)
    again = decode(encode(original))
    assert again.schema.equals(SCHEMA)
    assert again.equals(original)


def test_text_beyond_ascii_and_non_finite_values_come_back():
    original = batch(
        pod=labels([0, 1, 0], ["", "µ\U0001f680\t"]),
        value=pa.array([float("inf"), -0.0, 1e308]),
    )
    assert decode(encode(original)).to_pylist() == original.to_pylist()


def test_sliced_and_uncompressed_batches_decode():
    sliced = batch(100).slice(40, 7)
    assert decode(encode(sliced)).to_pylist() == sliced.to_pylist()
    assert decode(stream(SCHEMA, batch())).equals(batch())


def test_encoding_is_small():
    assert len(encode(batch(32_768))) < 30 * 32_768


def test_large_batch_of_many_series_takes_much_less_than_lz4_would_make_of_it():
    texts = [f"instance={row * 7919}, gpu={row % 8}, pod=vllm-{row:x}" for row in range(20_000)]
    many = batch(20_000, labels_raw=labels(list(range(20_000)), texts))
    assert len(encode(many)) < 0.7 * len(stream(SCHEMA, many, compression="lz4"))
    assert decode(encode(many)).equals(many)


@pytest.mark.parametrize(
    "payload", [b"", b"hello", b"\x00" * 64, b"\xff\xff\xff\xff\x00\x00\x00\x00", b'{"id": "1"}']
)
def test_what_is_no_arrow_stream_is_refused(payload):
    with pytest.raises(DecodeError):
        decode(payload)


def test_wrong_schema_is_refused():
    other = pa.RecordBatch.from_pydict({"timestamp": [1], "value": [2.0]})
    with pytest.raises(DecodeError, match="schema"):
        decode(stream(other.schema, other))


def test_large_offsets_are_another_schema():
    wide = batch().cast(
        SCHEMA.set(1, pa.field("metric_name", pa.dictionary(pa.int32(), pa.large_string())))
    )
    with pytest.raises(DecodeError, match="schema"):
        decode(stream(wide.schema, wide))


@pytest.mark.parametrize("count", [0, 2])
def test_stream_of_none_or_many_batches_is_refused(count):
    with pytest.raises(DecodeError, match=f"{count} record batches"):
        decode(stream(SCHEMA, *[batch()] * count))


@pytest.mark.parametrize("name", FIELDS)
def test_nulls_are_refused(name):
    column = batch().column(name)
    nulled = pa.array([None] * 3, column.type)
    with pytest.raises(DecodeError):
        decode(stream(SCHEMA, batch(**{name: nulled})))


def test_null_within_a_dictionary_is_refused():
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 0], pa.int32()), pa.array(["a", None], pa.string())
    )
    with pytest.raises(DecodeError):
        decode(stream(SCHEMA, batch(uuid=column)))


def test_index_outside_its_dictionary_is_refused():
    wild = pa.DictionaryArray.from_arrays(
        pa.array([0, 7, 0], pa.int32()), pa.array(["a", "b"]), safe=False
    )
    with pytest.raises(DecodeError):
        decode(stream(SCHEMA, batch(uuid=wild)))


def test_text_that_is_not_utf8_is_refused():
    raw = pa.array([b"ok", b"\xff\xfe"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), text)
    with pytest.raises(DecodeError):
        decode(stream(SCHEMA, batch(uuid=column)))


def test_every_truncation_is_refused_or_whole():
    payload, original = encode(batch()), batch()
    whole = []
    for size in range(len(payload)):
        try:
            assert decode(payload[:size]).equals(original)
        except DecodeError:
            continue
        whole.append(size)
    assert all(size >= len(payload) - 8 for size in whole)  # only the end marker is missing


@pytest.mark.parametrize(
    "moment_us", [0, -1, 946_684_800_000_000 - 1, 4_102_444_800_000_000, 2**62]
)
def test_timestamps_outside_the_supported_years_are_refused(moment_us):
    times = pa.array([START_US, moment_us, START_US], TIMESTAMP_TYPE)
    with pytest.raises(DecodeError, match="2000 to 2099"):
        decode(stream(SCHEMA, batch(timestamp=times)))


def test_more_behind_the_end_of_the_stream_is_no_part_of_it():
    assert decode(encode(batch()) + b"tail").equals(batch())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"ARROW1\x00\x00")
def test_random_bytes_are_refused(payload):
    with pytest.raises(DecodeError):
        decode(payload)


PAYLOADS = {True: encode(batch(50)), False: stream(SCHEMA, batch(50))}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans())
def test_mutated_payloads_decode_to_a_valid_batch_or_are_refused(seed, changes, compressed):
    chance = random.Random(seed)
    payload = bytearray(PAYLOADS[compressed])
    for _ in range(changes):
        payload[chance.randrange(len(payload))] = chance.randrange(256)
    try:
        decoded = decode(bytes(payload))
    except DecodeError:
        return
    assert decoded.schema.equals(SCHEMA)
    assert len(decoded.to_pylist()) == decoded.num_rows


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("uuid", "x" * 6000, "uuid is over 256 characters"),
        ("labels_raw", "x" * 4097, "labels_raw is over 4096 bytes"),
        ("pod", "a\0b", "pod has a line break or a NUL character"),
    ],
)
def test_a_label_over_its_bounds_is_refused_with_its_name_and_reason(name, text, reason):
    payload = encode(batch(2, **{name: labels([0, 1], ["a", text])}))
    with pytest.raises(DecodeError, match=reason):
        decode(payload)


def test_text_that_no_row_has_refuses_no_batch():
    assert decode(encode(batch(2, pod=labels([0, 0], ["a", "x" * 6000])))).num_rows == 2


def test_more_rows_than_may_be_are_refused():
    with pytest.raises(DecodeError, match=r"payload has 11 rows, more than 10 \(--payload-max"):
        decode(encode(batch(11)), PayloadLimits(max_rows=10))
    assert decode(encode(batch(10)), PayloadLimits(max_rows=10)).num_rows == 10
