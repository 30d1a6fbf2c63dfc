"""Metadata: what is taken, every consumer can decode; what is refused has cost little."""

import sys
import threading
import tracemalloc
from typing import Any

import msgspec
import pytest

from gputel.broker.requests.metadata import as_json, as_msgpack, is_sound, packed
from gputel.mq.wire.protocol import (
    JSON,
    MAX_METADATA_BYTES,
    MAX_METADATA_ENTRIES,
    MAX_METADATA_LEVELS,
    MSGPACK,
    UNREADABLE,
)

Raw = msgspec.Raw
ENCODE = {JSON: msgspec.json.encode, MSGPACK: msgspec.msgpack.encode}


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels."""
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


def in_a_thread(work: Any) -> Any:
    """What work gives in a thread, whose stack holds no frames of ours."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": 1, "b": None, "c": "é", "d": 1.5, "e": True},
        nested(MAX_METADATA_LEVELS),
        {str(n): n for n in range(MAX_METADATA_ENTRIES)},
        {"a": list(range(MAX_METADATA_ENTRIES - 1))},
        {"a": "x" * (MAX_METADATA_BYTES - 10)},
        {"big": 2**64 - 1, "small": -(2**63)},
    ],
)
def test_metadata_within_the_bounds_is_kept_as_it_is(content_type, value) -> None:
    kept = packed(Raw(ENCODE[content_type](value)), content_type)
    assert msgspec.msgpack.decode(kept) == value
    assert is_sound(kept)
    assert msgspec.json.decode(as_json(kept)) == value


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (nested(MAX_METADATA_LEVELS + 1), "nested too deep"),
        (nested(900), "nested too deep"),
        ({str(n): n for n in range(MAX_METADATA_ENTRIES + 1)}, "too many entries"),
        ({"a": [[]] * MAX_METADATA_ENTRIES}, "too many entries"),
        ({"a": "x" * MAX_METADATA_BYTES}, "65536 bytes"),
        ([], "object"),
        (7, "object"),
    ],
)
def test_metadata_beyond_the_bounds_is_refused_in_every_thread(content_type, value, named) -> None:
    raw = Raw(ENCODE[content_type](value))

    def refusal() -> str:
        with pytest.raises(UNREADABLE) as caught:
            packed(raw, content_type)
        return str(caught.value)

    assert named in refusal()
    assert in_a_thread(refusal) == refusal()


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (b'{"a":NaN}', JSON),
        (b'{"a":1e999}', JSON),
        (b'{"a":' + b"9" * 40 + b"}", JSON),
        (b'{"a":' + b"9" * 5000 + b"}", JSON),
        (b'{"a":"\\ud800"}', JSON),
        (b'{"a":["\\ud800"]}', JSON),
        (b'{"a":"\xff"}', JSON),
        (b'{"a":["\xff"]}', JSON),
        (b"\x81\xa1a\x91\xa1\xff", MSGPACK),
        (b"\x81\xa1a\xd4\x05\x00", MSGPACK),
        (b"\x81\xa1a\x91\xd4\x05\x00", MSGPACK),
        (b"\x81\xa1a\x81\x92\x01\x02\x03", MSGPACK),
        (b"\x81\x01\x02", MSGPACK),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", MSGPACK),
        (b"\x81\xa1a\xc1", MSGPACK),
        (b"\x81", MSGPACK),
    ],
)
def test_what_no_json_and_no_msgpack_can_say_is_refused(raw, content_type) -> None:
    with pytest.raises(UNREADABLE):
        packed(Raw(raw), content_type)


def test_a_name_that_is_there_twice_is_kept_once() -> None:
    kept = packed(Raw(b'{"a":1,"b":[],"a":2}'), JSON)
    assert msgspec.msgpack.decode(kept) == {"a": 2, "b": []}
    kept = packed(Raw(b"\x82\xa1a\x01\xa1a\x02"), MSGPACK)
    assert kept == b"\x81\xa1a\x02"


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (b"\x81\xa1a\xdd\x01\x00\x00\x00" + b"\x90" * 2**24, MSGPACK),
        (b"\x81\xa1a\xdc\xff\x00" + b"\x90" * 0xFF00, MSGPACK),
        (b'{"a":[' + b"[]," * 8_000_000 + b"[]]}", JSON),
        (b'{"a":[' + b"[]," * 100_000 + b"[]]}", JSON),
    ],
)
def test_lists_of_empty_lists_take_no_memory_before_they_are_refused(raw, content_type) -> None:
    value = Raw(raw)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"too many entries|65536 bytes"):
        packed(value, content_type)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(raw) + 1_000_000


@pytest.mark.parametrize("levels", [MAX_METADATA_LEVELS + 1, 500, 980, 20_000])
def test_what_an_earlier_version_kept_is_told_apart_and_shown_as_null(levels) -> None:
    kept = b"\x81\xa1a" + b"\x91" * levels + b"\xc0"
    assert not is_sound(kept)
    assert bytes(as_json(kept)) == b"null"
    assert bytes(as_msgpack(kept)) == b"\xc0"


def test_the_bounds_are_far_below_what_a_decoder_takes() -> None:
    assert sys.getrecursionlimit() / 10 > MAX_METADATA_LEVELS
