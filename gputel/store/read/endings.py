"""Which series have ended because another one took their place, as when a pod starts on a GPU.

Series of one lane are of one thing: the same metric, GPU, MIG instance, instance and job. One has
ended if another one of its lane has a newer sample, and was not there yet when it had its last one.
Series side by side, as those of several links, are read at the same time and do not end each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gputel.model.raw_labels import LANE_LABELS, read_raw
from gputel.store.blocks.blocks import Int64
from gputel.store.read.known_series import OrderedSeries
from gputel.store.read.view import SeriesView

Bools = npt.NDArray[np.bool_]

READING_US = 500_000
"""Samples of one reading are at most so far apart."""

_MOST_OTHERS = 8  # of a lane that are asked for each series: those that were made last
_AT_ONCE = 10_000
_REMEMBERED = 8  # lists of series


async def ended(view: SeriesView, of: OrderedSeries, newest_us: Int64) -> Bools:
    """Which of the series have ended; ``newest_us`` has the time of the newest sample of each."""
    series, found = of.series, np.zeros(len(of.series), np.bool_)
    pairs = list(_pairs(of, newest_us))
    for first in range(0, len(pairs), _AT_ONCE):
        some = pairs[first : first + _AT_ONCE]
        others = [series[other].series_id for _, other in some]
        times = [int(newest_us[each]) for each, _ in some]
        there = await view.there(others, times, READING_US)
        for (each, _), was_there in zip(some, there, strict=True):
            found[each] |= not was_there
    return found


def _pairs(of: OrderedSeries, newest_us: Int64) -> Iterator[tuple[int, int]]:
    """Places of a series, and of another one of its lane that has a newer sample."""
    for places in _lanes(of):
        times = [int(newest_us[place]) for place in places]
        if max(times) - min(times) > READING_US:
            for each, time in zip(places, times, strict=True):
                newer = [o for o, t in zip(places, times, strict=True) if t > time + READING_US]
                yield from ((each, other) for other in newer[:_MOST_OTHERS])


@lru_cache(_REMEMBERED)
def _lanes(of: OrderedSeries) -> list[list[int]]:
    """The places of the series of each lane that has several, those made last first."""
    by_reading: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, labels in enumerate(of.series):
        by_reading[labels.metric_name, labels.uuid].append(place)
    shared: list[list[int]] = []
    for places in by_reading.values():
        if len(places) > 1:
            lanes: dict[tuple[str, ...], list[int]] = defaultdict(list)
            for place in sorted(places, key=lambda place: -of.series[place].series_id):
                raw = read_raw(of.series[place].labels_raw).labels
                lanes[tuple(raw.get(name, "") for name in LANE_LABELS)].append(place)
            shared += [each for each in lanes.values() if len(each) > 1]
    return shared
