from __future__ import annotations

import math
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.store.blocks.samples import EMPTY, Samples, concatenate, decode_blocks, numbers
from gputel.store.read.time_order import Order, Position, Resume, TimeMerge, sort


def array_send(kind: str, elements: list[float] | list[int]) -> bytes:
    if not elements:
        return struct.pack(">iii", 0, 0, 0)
    head = struct.pack(">iiiii", 1, 0, 0, len(elements), 1)
    return head + b"".join(struct.pack(f">i{kind}", 8, element) for element in elements)


def samples(*rows: tuple[int, int, float]) -> Samples:
    series, ts, value = zip(*rows, strict=True)
    return Samples(np.array(series), np.array(ts), np.array(value, np.float64))


def rows(found: Samples) -> list[tuple[int, int, float]]:
    return list(zip(found.series_id.tolist(), found.ts.tolist(), found.value.tolist(), strict=True))


def test_blocks_decode_from_their_binary_form() -> None:
    found = decode_blocks(
        [7, 8, 9, 6],
        [1000, 0, -5, 50],
        [10, 0, 0, 7],
        [None, None, array_send("q", [0]), array_send("q", [0, -7, 1])],
        [
            array_send("d", [1.5, math.inf]),
            array_send("d", []),
            array_send("d", [0.0]),
            array_send("d", [1.0, 2.0, 3.0]),
        ],
    )
    assert rows(found) == [
        (7, 1000, 1.5),
        (7, 1010, math.inf),
        (9, -5, 0.0),
        (6, 50, 1.0),
        (6, 50, 2.0),
        (6, 65, 3.0),
    ]


def test_no_blocks_decode_to_nothing() -> None:
    assert len(decode_blocks([], [], [], [], [])) == 0
    assert len(concatenate([])) == len(EMPTY) == 0


def test_samples_of_one_series_and_instant_come_in_an_order_that_blocks_do_not_change() -> None:
    merge = TimeMerge(Order.NEWEST_FIRST, 0, 100)
    merge.push(samples((1, 10, 3.0), (1, 10, 1.0)), 10)
    merge.push(samples((1, 10, 2.0)), 10)
    assert [row[2] for row in rows(merge.rest())] == [1.0, 2.0, 3.0]


def test_a_sample_is_held_until_no_later_block_can_overtake_it() -> None:
    merge = TimeMerge(Order.NEWEST_FIRST, 0, 100)
    assert rows(merge.push(samples((1, 10, 0.0), (1, 50, 1.0)), 50)) == []
    assert rows(merge.push(samples((2, 20, 2.0), (2, 30, 3.0)), 30)) == [(1, 50, 1.0)]
    assert rows(merge.rest()) == [(2, 30, 3.0), (2, 20, 2.0), (1, 10, 0.0)]
    assert rows(merge.rest()) == []


def test_only_the_range_is_kept_both_ends_included() -> None:
    merge = TimeMerge(Order.NEWEST_FIRST, 10, 12)
    merge.push(samples(*((1, ts, 0.0) for ts in range(9, 14))), 13)
    assert [row[1] for row in rows(merge.rest())] == [12, 11, 10]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.lists(st.integers(0, 60), min_size=1, max_size=8)),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_the_merge_is_the_sort_of_everything(
    blocks: list[tuple[int, list[int]]], per_push: int
) -> None:
    blocks.sort(key=lambda block: -max(block[1]))
    merge, found = TimeMerge(Order.NEWEST_FIRST, 5, 55), []
    for place in range(0, len(blocks), per_push):
        pushed = blocks[place : place + per_push]
        piece = samples(*((series, ts, 0.0) for series, times in pushed for ts in times))
        found += rows(merge.push(piece, max(pushed[-1][1])))
    found += rows(merge.rest())
    wanted = [(series, ts, 0.0) for series, times in blocks for ts in times if 5 <= ts <= 55]
    assert found == sorted(wanted, key=lambda row: (-row[1], row[0]))


def test_whole_numbers_lose_their_fraction_and_others_keep_it() -> None:
    found = numbers(np.array([0.0, -3.0, 0.5, 1e300, math.nan, math.inf, 2.0**53]))
    assert [repr(value) for value in found] == [
        "0",
        "-3",
        "0.5",
        "1e+300",
        "nan",
        "inf",
        "9007199254740992",
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.integers(0, 60), min_size=1, max_size=8)),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_oldest_first_it_is_the_sort_of_everything_too(
    blocks: list[tuple[int, list[int]]], per_push: int
) -> None:
    blocks.sort(key=lambda block: min(block[1]))
    merge, found = TimeMerge(Order.OLDEST_FIRST, 5, 55), []
    for place in range(0, len(blocks), per_push):
        pushed = blocks[place : place + per_push]
        piece = samples(*((series, ts, 0.0) for series, times in pushed for ts in times))
        found += rows(merge.push(piece, min(pushed[-1][1])))
    found += rows(merge.rest())
    wanted = [(series, ts, 0.0) for series, times in blocks for ts in times if 5 <= ts <= 55]
    assert found == sorted(wanted, key=lambda row: (row[1], row[0]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 2), st.integers(0, 3), st.sampled_from([0.0, 1.0, math.nan, math.inf])
        ),
        min_size=1,
        max_size=14,
    ),
    st.sampled_from(Order),
    st.data(),
)
def test_pages_joined_at_their_positions_are_the_whole(
    given_rows: list[tuple[int, int, float]], order: Order, data: st.DataObject
) -> None:
    whole = sort(samples(*given_rows), order)
    position, found = None, list[tuple[int, int, float]]()
    while len(found) < len(whole):
        inside = whole if position is None else whole.take(_from(whole, position, order))
        rest, resume = EMPTY, Resume(position)
        cut = data.draw(st.integers(0, len(inside)))  # the samples may come in any pieces
        pieces = [inside.take(slice(0, cut)), inside.take(slice(cut, None))]
        rest = concatenate([resume.rest(piece) for piece in pieces])
        page = rest.take(slice(0, data.draw(st.integers(1, 5))))
        position = Position.of_last(page, position)
        found += rows(page)
    assert repr(found) == repr(rows(whole))


def _from(whole: Samples, position: Position, order: Order) -> np.ndarray:
    newest_first = order is Order.NEWEST_FIRST
    return whole.ts <= position.ts_us if newest_first else whole.ts >= position.ts_us
