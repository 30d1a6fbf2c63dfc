from __future__ import annotations

import math

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gputel.api.formats.text import JsonRecords
from gputel.store.blocks.samples import Samples, micros
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.records import Records, SeriesLabels

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['gpu="0",pod="a\\b"', "T00:00:00", '"value":0,"labels_raw":', ',{"timestamp":"', "é\u2028\x00"]
)
LABELS = st.tuples(*[TEXTS] * 10)
TIMES = (
    st.integers(micros(EARLIEST), micros(LATEST))
    | st.integers(-3, 3)
    | st.integers(0, 4 * 10**9).map(lambda second: second * 1_000_000)
)
VALUES = (
    st.floats()
    | st.integers(-(2**54), 2**54).map(float)
    | st.sampled_from([-0.0, 5e-324, 1e300, 1e16, 1e-7, 0.1 + 0.2, math.nan, -math.inf])
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(LABELS, min_size=1, max_size=4),
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), TIMES, VALUES), min_size=1, max_size=8),
        min_size=1,
        max_size=3,
    ),
)
@example([("",) * 10], [[(0, micros(EARLIEST), -0.0)], [(0, micros(LATEST), math.nan)]])
def test_columns_give_the_bytes_of_the_records_one_by_one(
    labels: list[tuple[str, ...]], pieces: list[list[tuple[int, int, float]]]
) -> None:
    series = {place: SeriesLabels(place, *texts) for place, texts in enumerate(labels)}
    encoder = JsonRecords()
    found, wanted = encoder.start(), []
    for rows in pieces:
        ids, times, values = zip(*rows, strict=True)
        samples = Samples(
            np.array(ids) % len(labels), np.array(times), np.array(values, np.float64)
        )
        records = Records(samples, series)
        found += encoder.add(records)
        wanted += list(records)
    assert found + encoder.end() == msgspec.json.encode(wanted) + b"\n"
