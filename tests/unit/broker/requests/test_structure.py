"""Depth and width of JSON and MessagePack, read from their bytes."""

import json
from typing import Any

import msgspec
import pytest

from gputel.broker.requests.structure import StructureLimits, TooComplex, check_json, check_msgpack

ANY = StructureLimits(10**9, 10**9)
VALUES: list[tuple[Any, int, int]] = [  # levels and entries
    ({}, 1, 0),
    ([], 1, 0),
    ("[[{,", 0, 0),
    ({"a": 1, "b": "x"}, 1, 2),
    ({"a": [], "b": {}}, 2, 2),
    ({"a": [1, 2, {"b": [[]]}]}, 5, 6),
    ({'"],[{\\': '\\"[,'}, 1, 1),
    ({"n": [None, True, False, -1, -40, 200, 70_000, 2**40, -(2**40), 1.5, "x" * 300]}, 2, 12),
    ({"k" * 40: "v" * 70_000, "m": {str(n): n for n in range(700)}}, 2, 702),
    ([[n] for n in range(20)], 2, 40),
]


def least(check: Any, data: bytes) -> tuple[int, int]:
    """The narrowest bounds that data is within."""

    def fits(levels: int, entries: int) -> bool:
        try:
            check(data, StructureLimits(levels, entries))
        except TooComplex:
            return False
        return True

    levels = next(n for n in range(100) if fits(n, 10**9))
    low, high = -1, 1_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(10**9, middle) else (middle, high)
    return levels, high


@pytest.mark.parametrize(("value", "levels", "entries"), VALUES)
def test_both_encodings_of_a_value_are_as_deep_and_as_wide(value, levels, entries) -> None:
    assert least(check_msgpack, msgspec.msgpack.encode(value)) == (levels, entries)
    for text in (msgspec.json.encode(value), json.dumps(value, indent=3).encode()):
        assert least(check_json, text) == (levels, entries)


def test_the_longest_headers_are_read() -> None:
    for value in ({str(n): n for n in range(70_000)}, [0] * 70_000):
        data = msgspec.msgpack.encode(value)
        check_msgpack(data, StructureLimits(1, 70_000))
        with pytest.raises(TooComplex):
            check_msgpack(data, StructureLimits(1, 69_999))


@pytest.mark.parametrize("check", [check_json, check_msgpack])
def test_nothing_is_looked_at_beyond_the_bounds(check) -> None:
    deep = b"[" * 10_000_000 if check is check_json else b"\x91" * 10_000_000
    with pytest.raises(TooComplex, match="nested too deep: at most 32 levels"):
        check(deep, StructureLimits(32, 10**9))
    wide = b"[" + b"[]," * 3_000_000 if check is check_json else b"\xdd\xff\xff\xff\xff"
    with pytest.raises(TooComplex, match="too many entries: at most 9"):
        check(wide, StructureLimits(32, 9))


def test_what_is_cut_off_is_left_to_the_decoder() -> None:
    value = {"a": [1, {"b": b"x" * 70_000, "c": "y" * 300, "d": [2.5, 2**40, -300]}] * 20}
    whole = msgspec.msgpack.encode(value)
    for end in [*range(200), *range(len(whole) - 200, len(whole))]:
        check_msgpack(whole[:end], ANY)
    text = msgspec.json.encode(value)
    for end in range(400):
        check_json(text[:end], ANY)


def test_every_first_byte_of_msgpack_is_known() -> None:
    for first in range(256):
        check_msgpack(bytes([first]) + b"\0" * 30, ANY)
