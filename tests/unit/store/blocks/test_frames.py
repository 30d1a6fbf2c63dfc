"""Frames hold what the blocks held that they were made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gputel.store.blocks.blocks import PG_EPOCH_US, Blocks, make_blocks
from gputel.store.blocks.copy_format import frame_payload
from gputel.store.blocks.frames import (
    LEAST_SERIES,
    MOST_TIMES,
    decode_frames,
    frame_candidates,
    frames_of,
)
from gputel.store.blocks.samples import Samples, concatenate, ordered

START_US = PG_EPOCH_US + 800_000_000_000_000
STEP_US = 10_000_000


def blocks_of(series: int, times: int, first_id: int = 1, start_us: int = START_US) -> Blocks:
    """Series with ids from ``first_id`` on, all at the same times, each value another one."""
    ids = np.repeat(np.arange(first_id, first_id + series), times)
    ts = np.tile(start_us + STEP_US * np.arange(times), series)
    return make_blocks(ids, ts, np.arange(len(ids)) / 3)


def on_one_gpu(blocks: Blocks) -> np.ndarray[Any, Any]:
    return np.zeros(len(blocks.starts), np.int64)


def parsed(payload: list[memoryview]) -> list[dict[str, Any]]:
    """Rows of COPY, read field by field as Postgres does."""
    rows, raw = [], b"".join(payload)
    at = 0

    def field() -> bytes:
        nonlocal at
        size = int.from_bytes(raw[at : at + 4], "big", signed=True)
        at += 4 + size
        return raw[at - size : at]

    while at < len(raw):
        assert int.from_bytes(raw[at : at + 2], "big") == 6
        at += 2
        list_id, first, last, step, samples = (int.from_bytes(field(), "big") for _ in range(5))
        epoch = datetime(2000, 1, 1, tzinfo=UTC)
        assert last == first + step * (samples - 1)
        moment = epoch + timedelta(microseconds=first)
        rows.append(
            {
                "list_id": list_id,
                "first_ts": moment,
                "step_us": step,
                "samples": samples,
                "value": field(),
            }
        )
    return rows


def test_series_of_one_gpu_at_the_same_times_are_alike() -> None:
    blocks = blocks_of(10, 3)
    (found,) = frame_candidates(blocks, on_one_gpu(blocks))
    assert found.blocks.tolist() == list(range(10))


def test_series_of_two_gpus_are_two_frames() -> None:
    blocks = blocks_of(10, 1)
    found = frame_candidates(blocks, np.arange(10) % 2)
    assert [each.blocks.tolist() for each in found] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert found[0].digest != found[1].digest


def test_the_same_series_have_the_same_digest_at_other_times() -> None:
    one, other = blocks_of(5, 1), blocks_of(5, 2, start_us=START_US + STEP_US)
    assert (
        frame_candidates(one, on_one_gpu(one))[0].digest
        == frame_candidates(other, on_one_gpu(other))[0].digest
    )


def test_few_series_long_blocks_and_uneven_times_stay_blocks() -> None:
    for blocks in (blocks_of(LEAST_SERIES - 1, 1), blocks_of(9, MOST_TIMES + 1)):
        assert frame_candidates(blocks, on_one_gpu(blocks)) == []
    ids = np.repeat(np.arange(9), 3)
    uneven = make_blocks(ids, np.tile([0, 10, 21], 9) + START_US, np.zeros(27))
    assert frame_candidates(uneven, on_one_gpu(uneven)) == []


@given(
    st.lists(
        st.tuples(
            st.integers(1, 12), st.integers(1, MOST_TIMES + 2), st.integers(0, 2), st.booleans()
        ),
        max_size=5,
    )
)
def test_frames_and_the_blocks_left_over_hold_all_samples(
    groups: list[tuple[int, int, int, bool]],
) -> None:
    pieces, gpu_of_series, first = [], [], 0
    for number, (series, times, slot, _) in enumerate(groups):
        blocks = blocks_of(series, times, first, START_US + slot * STEP_US)
        pieces.append(Samples(blocks.series_id, blocks.ts, blocks.value))
        gpu_of_series += [number // 2] * series
        first += series
    samples = concatenate(pieces)
    blocks = make_blocks(samples.series_id, samples.ts, samples.value)
    gpus = np.array(gpu_of_series, np.int64)[blocks.series_id[blocks.starts]]
    found = frame_candidates(blocks, gpus)
    listed = {each.digest: place for place, each in enumerate(found) if len(each.blocks) % 2}
    members = {
        listed[each.digest]: blocks.series_id[blocks.starts[each.blocks]]
        for each in found
        if each.digest in listed
    }
    frames = frames_of(found, listed)
    rest = np.ones(len(blocks.starts), np.bool_)
    rest[frames.blocks] = False
    left = blocks.take(rest)
    rows = parsed(frame_payload(blocks, frames))
    assert len(rows) == len(frames)
    framed = [decode_frames(rows, members)] if rows else []
    back = ordered(concatenate([*framed, Samples(left.series_id, left.ts, left.value)]))
    wanted = ordered(samples)
    for column in ("series_id", "ts", "value"):
        assert getattr(back, column).tolist() == getattr(wanted, column).tolist()
    assert left.uneven.tolist() == blocks.uneven[rest].tolist()
