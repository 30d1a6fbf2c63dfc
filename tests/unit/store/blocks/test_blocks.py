"""Samples become blocks in order of series and time, in PostgreSQL's binary COPY format."""

import struct
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.store.blocks.blocks import DAY_US, MOST_SAMPLES, make_blocks
from gputel.store.blocks.copy_format import copy_payload

NOON_US = 20_000 * DAY_US + DAY_US // 2
PG_EPOCH_US = 946_684_800_000_000

samples = st.lists(
    st.tuples(
        st.integers(1, 4) | st.integers(10**6, 10**6 + 2),
        st.integers(-2 * DAY_US, 2 * DAY_US).map(lambda us: NOON_US + us) | st.just(NOON_US),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=40,
)


def arrays(rows):
    ids, times, values = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(ids, np.int64), np.array(times, np.int64), np.array(values, np.float64)


def parsed(payload):
    """The rows of COPY statements, read by the book."""
    data = b"".join(payload)
    at, rows = 0, []
    while at < len(data):
        assert struct.unpack_from(">h", data, at) == (8,)
        at += 2
        row: list[Any] = []
        for _ in range(8):
            (size,) = struct.unpack_from(">i", data, at)
            at += 4
            row.append(None if size == -1 else data[at : at + size])
            at += max(0, size)
        series_id, first, last, step = (struct.unpack(">q", field)[0] for field in row[:4])
        (count,) = struct.unpack(">i", row[4])
        assert struct.unpack(">i", row[5]) == (0,)
        values = array(row[7], 701, ">d")
        off = [0] * count if row[6] is None else array(row[6], 20, ">q")
        assert row[6] is None or any(off), "an array of zeros is not stored"
        times = [first + step * place + us for place, us in enumerate(off)]
        assert (len(values), times[0], times[-1]) == (count, first, last)
        rows.append((series_id, times, values))
    return rows


def array(field, oid, element):
    assert struct.unpack_from(">iiiii", field) == (1, 0, oid, (len(field) - 20) // 12, 1)
    found = []
    for at in range(20, len(field), 12):
        assert struct.unpack_from(">i", field, at)[0] == 8
        found.append(struct.unpack_from(element, field, at + 4)[0])
    return found


@settings(deadline=None, max_examples=60)
@given(samples)
def test_blocks_hold_every_sample_once_in_order_of_series_then_time(rows):
    blocks = make_blocks(*arrays(rows))
    found = []
    for series_id, times, values in parsed(copy_payload(blocks)):
        assert times == sorted(times)
        assert len({(t + PG_EPOCH_US) // DAY_US for t in times}) == 1, "spans midnight"
        found += [(series_id, t + PG_EPOCH_US, v) for t, v in zip(times, values, strict=True)]
    assert found == sorted(rows, key=lambda row: row[:2])


def test_many_rows_are_copied_in_statements_of_whole_rows_and_bounded_size():
    count = 100_000
    columns = np.arange(count), np.full(count, NOON_US), np.ones(count)
    payload = copy_payload(make_blocks(*columns))
    row_bytes = sum(map(len, payload)) // count
    assert [len(rows) % row_bytes for rows in payload] == [0] * len(payload)
    assert len(payload) > 2
    assert max(map(len, payload)) < 4 * 1024 * 1024 + row_bytes


def test_equal_times_keep_the_order_of_arrival():
    blocks = make_blocks(*arrays([(1, NOON_US, 3.0), (1, NOON_US, 1.0), (1, NOON_US, 2.0)]))
    assert blocks.value.tolist() == [3.0, 1.0, 2.0]


def test_one_series_of_one_day_is_one_block():
    blocks = make_blocks(*arrays([(7, NOON_US + i, float(i)) for i in range(1000)]))
    assert blocks.counts.tolist() == [1000]
    assert blocks.days.tolist() == [20_000]


def test_spans_tell_each_series_once_with_its_first_and_last_time():
    rows = [(2, NOON_US, 1.0), (1, NOON_US + DAY_US, 2.0), (2, NOON_US - DAY_US, 3.0)]
    series_id, first, last = make_blocks(*arrays(rows)).spans()
    assert series_id.tolist() == [1, 2]
    assert first.tolist() == [NOON_US + DAY_US, NOON_US - DAY_US]
    assert last.tolist() == [NOON_US + DAY_US, NOON_US]


def test_regular_times_need_no_offsets_and_a_gap_is_the_same_offset_from_there_on():
    times = [NOON_US + 10 * i for i in range(9)]
    assert not make_blocks(*arrays([(1, us, 0.0) for us in times])).uneven.any()
    gap = [*times, times[-1] + 1000, times[-1] + 1010]
    blocks = make_blocks(*arrays([(1, us, 0.0) for us in gap]))
    assert blocks.step_us.tolist() == [10]
    assert blocks.off_us.tolist() == [0] * 9 + [990, 990]


def test_a_first_step_unlike_the_others_is_not_taken_for_the_step():
    times = [NOON_US, *(NOON_US + 7 + 10 * i for i in range(50))]
    blocks = make_blocks(*arrays([(2, NOON_US, 1.0), *((1, us, 0.0) for us in times)]))
    assert blocks.step_us.tolist() == [10, 0]


def test_a_block_is_cut_where_it_would_be_too_long_for_its_readers():
    count = MOST_SAMPLES + 5
    ids = np.repeat(np.array([1, 2, 3]), [count, 1, MOST_SAMPLES])
    ts = NOON_US + np.arange(len(ids))
    blocks = make_blocks(ids, ts, np.zeros(len(ids)))
    assert blocks.counts.tolist() == [MOST_SAMPLES, 5, 1, MOST_SAMPLES]
    assert blocks.series_id[blocks.starts].tolist() == [1, 1, 2, 3]
