from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from gputel.api.formats.format import Format
from gputel.api.formats.newest import encode_newest
from gputel.api.telemetry.latest import LatestSchema
from gputel.store.read.known_series import OrderedSeries
from gputel.store.read.latest import Newest
from gputel.store.read.records import SeriesLabels

VALUES = [0.0, -1.5, 1e300, 0.1 + 0.2, math.nan, -math.inf, 2.0**54]
LABELS = ("TEMP", "0", "nvidia0", "GPU-a", 'H100 "80GB"', "é,\u2028", "", "pod\\1", 'n"', "raw")


def newest(count: int) -> Newest:
    series = tuple(SeriesLabels(place, *LABELS) for place in range(count))
    age_s = np.array([4.0, -0.001, 86400.123, 0.0, 1e9, 0.5, 7.25])[:count]
    us = np.array([0, 1, -1, 10**15, 1_753_000_000_250_000, 10**6, 999_999], np.int64)[:count]
    return Newest(
        OrderedSeries(series, np.arange(count), np.arange(count)),
        us,
        age_s,
        np.array(VALUES)[:count],
    )


@pytest.mark.parametrize("count", [0, 1, len(VALUES)])
def test_columns_give_the_bytes_of_the_records_one_by_one(count: int) -> None:
    found = newest(count)
    assert len(list(found)) == count
    assert encode_newest(found, LatestSchema, Format.JSON) == msgspec.json.encode(list(found))
