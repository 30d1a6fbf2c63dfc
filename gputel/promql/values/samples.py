"""Samples of many series in columns, and the places in them that belong to steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gputel.promql.values.labels import Labels
from gputel.promql.values.vector import Bools, Float64, Int64, Vector

STALE_BITS = 0x7FF0000000000002
"""The NaN by which Prometheus says that a series has ended: prometheus/model/value/value.go."""

_KEY_LIMIT = 2**62


@dataclass(frozen=True)
class SeriesSamples:
    """The samples of each series, one series after the other, each in order of time.

    Series ``i`` has the samples from ``bounds[i]`` to ``bounds[i + 1]``; ``ts`` is in Unix
    microseconds and never twice the same within a series.
    """

    labels: list[Labels]
    bounds: Int64
    ts: Int64
    values: Float64

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def stale(self) -> Bools:
        """Which samples are no samples but the mark of a series' end."""
        stale: Bools = self.values.view(np.int64) == STALE_BITS
        return stale

    def part(self, first: int, end: int) -> SeriesSamples:
        """The series from ``first`` up to ``end``."""
        low, high = int(self.bounds[first]), int(self.bounds[end])
        return SeriesSamples(
            self.labels[first:end],
            self.bounds[first : end + 1] - low,
            self.ts[low:high],
            self.values[low:high],
        )


def of_vector(vector: Vector, steps_us: Int64) -> SeriesSamples:
    """The values of a vector as samples at its steps: what a subquery gives."""
    row, column = np.nonzero(vector.present)
    bounds = np.searchsorted(row, np.arange(len(vector) + 1))
    return SeriesSamples(vector.labels, bounds, steps_us[column], vector.values[row, column])


def collect(labels: list[Labels], bounds: Int64, ts: Int64, values: Float64) -> SeriesSamples:
    """Series in any order, ``bounds`` as in SeriesSamples, each with its samples in any order.

    Labels that are given more than once are one series. Of samples of one series at one instant
    the last given counts. Series come out sorted by their labels.
    """
    order = np.array(sorted(range(len(labels)), key=labels.__getitem__), np.int64)
    counts = np.diff(bounds)[order]
    place = np.arange(len(ts)) + np.repeat(bounds[:-1][order] - np.cumsum(counts) + counts, counts)
    ts, values = ts[place], values[place]
    labels = [labels[each] for each in order.tolist()]
    new = [number for number, each in enumerate(labels) if not number or each != labels[number - 1]]
    begins = np.append(0, np.cumsum(counts))[[*new, len(labels)]]
    found = SeriesSamples([labels[number] for number in new], begins, ts, values)
    return found if _in_order(found) else _ordered(found)


def _in_order(samples: SeriesSamples) -> bool:
    later = np.diff(samples.ts) > 0
    starts = samples.bounds[(samples.bounds > 0) & (samples.bounds < len(samples.ts))]
    later[starts - 1] = True
    return bool(later.all())


def _ordered(samples: SeriesSamples) -> SeriesSamples:
    """The same with each series in order of time, each time once: the last that was given."""
    row = np.repeat(np.arange(len(samples)), np.diff(samples.bounds))
    order = np.lexsort((samples.ts, row))
    row, ts, values = row[order], samples.ts[order], samples.values[order]
    last = np.ones(len(ts), np.bool_)
    last[:-1] = (np.diff(row) != 0) | (np.diff(ts) != 0)
    bounds = np.append(0, np.cumsum(last))[samples.bounds]
    return SeriesSamples(samples.labels, bounds, ts[last], values[last])


def places(samples: SeriesSamples, moments: Int64, *, after: bool) -> Int64:
    """For each series and moment, the place of its first sample from then on, or after then.

    Series by moments; the place just behind the series' samples where it has none.
    """
    found = np.empty((len(samples), len(moments)), np.int64)
    if not len(samples) or not len(moments):
        return found
    low = int(min(moments.min(), samples.ts.min(initial=moments.min()))) - 1
    high = int(max(moments.max(), samples.ts.max(initial=moments.max()))) + 2
    width = high - low
    at_once = max(1, _KEY_LIMIT // width)
    side: Literal["left", "right"] = "right" if after else "left"
    for first in range(0, len(samples), at_once):
        end = min(first + at_once, len(samples))
        begin, stop = int(samples.bounds[first]), int(samples.bounds[end])
        counts = np.diff(samples.bounds[first : end + 1])
        shift = np.arange(end - first, dtype=np.int64) * width
        keys = samples.ts[begin:stop] - low + np.repeat(shift, counts)
        wanted = (moments - low)[None, :] + shift[:, None]
        found[first:end] = np.searchsorted(keys, wanted, side=side) + begin
    return found
