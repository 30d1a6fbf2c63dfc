"""Where a series ends because another takes its place, as when a pod starts on a GPU.

Series of one lane are of one thing: of the same metric, GPU and so on. Prometheus notes at each
scrape which series of the scrape before are gone. Samples tell the same: those of a lane that lie
close to each other are of one reading, and a series that is not in the reading in which another one
begins has ended there.

    reading          1   2   3   4   5
    pod=""           x   x   .           ends at 3, where the other begins
    pod="train-0"            x   x   x
    link="0"         x   x   x   x   x   side by side: neither ends
    link="1"         x   x       x   x   a reading is missing, but none begins there
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from gputel.promql.values.samples import STALE_BITS, SeriesSamples
from gputel.promql.values.vector import Bools, Int64

_NEVER = 2**62


def with_endings(
    samples: SeriesSamples, lanes: Sequence[Hashable], reading_us: int
) -> SeriesSamples:
    """The same samples, and a stale marker where a series ends; ``lanes`` has each series' lane.

    Samples of one reading are at most ``reading_us`` microseconds apart.
    """
    numbers: dict[Hashable, int] = {}
    lane = np.array([numbers.setdefault(each, len(numbers)) for each in lanes], np.int64)
    shared = np.bincount(lane, minlength=len(numbers)) > 1
    if not shared.any():
        return samples
    row = np.repeat(np.arange(len(samples)), np.diff(samples.bounds))
    chosen = np.flatnonzero(shared[lane[row]] & ~samples.stale)
    if not len(chosen):
        return samples
    rows, ts = _endings(row[chosen], samples.ts[chosen], lane, reading_us)
    return _marked(samples, row, rows, ts)


def _endings(row: Int64, ts: Int64, lane: Int64, reading_us: int) -> tuple[Int64, Int64]:
    """The series that end, and when. The samples are in order of series and time."""
    order, reading, first = _readings(row, ts, lane, reading_us)
    same = row[1:] == row[:-1]
    before, after = np.full(len(row), -_NEVER), np.full(len(row), _NEVER)
    before[1:][same], after[:-1][same] = reading[:-1][same], reading[1:][same]
    begins = np.zeros(len(first) + 1, np.bool_)
    begins[reading[(before != reading - 1) & (before != reading)]] = True
    next_begin = np.where(begins, np.arange(len(begins)), _NEVER)
    next_begin = np.minimum.accumulate(next_begin[::-1])[::-1]
    end = next_begin[reading + 1]
    ends = (end < after) & (reading != after)
    ends[ends] = lane[row[ends]] == lane[row[order]][first[end[ends]]]
    return row[ends], ts[order][first[end[ends]]]


def _readings(row: Int64, ts: Int64, lane: Int64, reading_us: int) -> tuple[Int64, Int64, Int64]:
    """The samples in order of lane and time, the reading of each, and each reading's first one.

    Readings are numbered lane by lane, and the first one is a place in that order.
    """
    of_lane = lane[row]
    gap, same = np.diff(ts), row[1:] == row[:-1]
    shortest = np.full(int(lane.max()) + 1, 2 * reading_us)
    np.minimum.at(shortest, of_lane[1:][same], gap[same])
    order = np.lexsort((ts, of_lane))
    new = np.ones(len(row), np.bool_)
    new[1:] = np.diff(of_lane[order]) != 0
    new[1:] |= np.diff(ts[order]) > shortest[of_lane[order][1:]] // 2
    reading = np.empty(len(row), np.int64)
    reading[order] = np.cumsum(new) - 1
    return order, reading, np.flatnonzero(new)


def _marked(samples: SeriesSamples, row: Int64, rows: Int64, ts: Int64) -> SeriesSamples:
    """The samples with stale markers of these series at these times."""
    if not len(rows):
        return samples
    row, times = np.append(row, rows), np.append(samples.ts, ts)
    order = np.lexsort((times, row))
    stale = np.full(len(rows), STALE_BITS, np.int64).view(np.float64)
    values = np.append(samples.values, stale)[order]
    bounds = np.searchsorted(row[order], np.arange(len(samples) + 1))
    return SeriesSamples(samples.labels, bounds, times[order], values)


def only(samples: SeriesSamples, taken: Bools) -> SeriesSamples:
    """Some of the series."""
    counts = np.diff(samples.bounds)
    inside = np.repeat(taken, counts)
    labels = [samples.labels[each] for each in np.flatnonzero(taken).tolist()]
    bounds = np.append(0, np.cumsum(counts[taken]))
    return SeriesSamples(labels, bounds, samples.ts[inside], samples.values[inside])
