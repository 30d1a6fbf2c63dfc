"""Samples in memory: what pieces give back is what was put in, in order and once."""

from __future__ import annotations

import random
from math import nan

import numpy as np
import pytest

from gputel.store.blocks.samples import EMPTY, Samples, concatenate, ordered
from gputel.store.head.piece import count_in, merged, packed, piece_of, samples_in
from gputel.store.head.state import SEGMENT_US, HeadState, merge

SECOND = 1_000_000


def samples(rows: list[tuple[int, int, float]]) -> Samples:
    """In order of series and time, each instant once."""
    ids, ts, value = zip(*rows, strict=True)
    return ordered(
        Samples(np.array(ids, np.int64), np.array(ts, np.int64), np.array(value, np.float64))
    )


def some(chance: random.Random) -> Samples:
    """Samples of some series, at a beat or not, some of them of one instant."""
    rows = []
    for series in chance.sample(range(20), chance.randint(1, 12)):
        first, step = chance.randint(0, 50), chance.choice([1, 2, 5])
        for number in range(chance.randint(1, 20)):
            late = chance.choice([0, 0, 0, 0, 1]) if chance.random() < 0.3 else 0
            value = chance.choice([1.0, 2.5, nan, -3.0])
            rows.append((series, (first + number * step) * SECOND + late, value))
    return samples(rows)


def same(one: Samples, other: Samples) -> bool:
    return (
        np.array_equal(one.series_id, other.series_id)
        and np.array_equal(one.ts, other.ts)
        and np.array_equal(one.value, other.value, equal_nan=True)
    )


@pytest.mark.parametrize("seed", range(40))
def test_pieces_give_back_what_was_put_in(seed: int) -> None:
    chance = random.Random(seed)
    put = [some(chance) for _ in range(chance.randint(1, 6))]
    pieces = [
        piece for each in put for piece in chance.choice([packed, lambda s: [piece_of(s)]])(each)
    ]
    every = ordered(concatenate(put))
    assert same(merged(pieces), every)
    assert same(merged(merge(pieces, pack=True)), every)
    for _ in range(10):
        wanted = np.array(sorted(chance.sample(range(25), chance.randint(0, 20))), np.int64)
        first = chance.randint(-5, 90) * SECOND + chance.choice([0, 1])
        last = first + chance.randint(-1, 60) * SECOND
        inside = np.isin(every.series_id, wanted) & (every.ts >= first) & (every.ts <= last)
        found = samples_in(pieces, wanted, first, last)
        assert same(found, every.take(inside))
        assert (count_in(pieces, wanted, first, last) > 0).tolist() == np.isin(
            wanted, found.series_id
        ).tolist()


def test_pieces_of_the_same_series_are_put_side_by_side() -> None:
    rows = [(series, at, float(at)) for series in (3, 8) for at in range(12)]
    parts = [[row for row in rows if row[1] % 3 == part] for part in range(3)]
    late_first = [piece_of(samples(part)) for part in reversed(parts)]
    assert same(merged(late_first), samples(rows))
    steady = [piece for part in parts for piece in packed(samples(part))]
    assert same(merged(steady), samples(rows))


def test_series_at_a_beat_need_no_times() -> None:
    rows = [(series, at * SECOND, 1.0) for series in range(3) for at in range(100)]
    (piece,) = packed(samples(rows))
    assert piece.ts is None
    assert piece.nbytes < 9 * len(rows)
    steady, others = packed(samples([*rows, (7, 0, 1.0), (7, 1, 1.0), (7, 5, 1.0)]))
    assert steady.series_id.tolist() == [0, 1, 2]
    assert others.series_id.tolist() == [7]


def test_state_drops_its_oldest_segments_to_stay_within_its_bytes() -> None:
    state = HeadState(0)
    for number in range(5):
        at = number * SEGMENT_US
        state = state.with_landed(samples([(each, at + 1, 0.0) for each in range(100)]))
    bounded = state.bounded(state.nbytes // 2)
    assert sorted(bounded.segments) == [3, 4]
    assert bounded.floor_us == 3 * SEGMENT_US
    assert bounded.nbytes <= state.nbytes // 2
    assert state.bounded(0).segments == {}
    assert state.bounded(0).floor_us == 5 * SEGMENT_US


def test_state_takes_nothing_older_than_its_floor() -> None:
    state = HeadState(SEGMENT_US + 10)
    state = state.with_landed(samples([(1, SEGMENT_US + 9, 1.0), (1, SEGMENT_US + 10, 2.0)]))
    assert state.samples == 1
    assert state.raised(SEGMENT_US + 20).samples == 1, "segments are dropped whole"
    assert state.raised(2 * SEGMENT_US).samples == 0
    assert HeadState(0).with_landed(EMPTY).segments == {}
