"""Samples to blocks without a loop over rows: sorted, cut, times as a step and offsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

DAY_US = 86_400_000_000
PG_EPOCH_US = 946_684_800_000_000
"""2000-01-01, the zero of PostgreSQL, in Unix microseconds."""
MOST_SAMPLES = 65_536
"""Most samples in a block: whoever reads one sample has to unpack all of them."""


@dataclass(frozen=True)
class Blocks:
    """Samples in order of series and time, and where each block begins.

    Block b holds the samples ``starts[b]`` to ``starts[b] + counts[b]``. Times are Unix
    microseconds. A block holds one series and one UTC day. Its sample i, counted from 0, is of the
    time ``ts[starts[b]] + i * step_us[b] + off_us[starts[b] + i]``.
    """

    series_id: Int64
    ts: Int64
    value: Float64
    starts: Int64
    counts: Int64
    step_us: Int64
    off_us: Int64

    @property
    def days(self) -> Int64:
        """The days since 1970-01-01 UTC that the blocks fall on, each once."""
        return np.unique(self.ts[self.starts] // DAY_US)

    @property
    def uneven(self) -> npt.NDArray[np.bool_]:
        """The blocks in which some offset is not 0."""
        return _uneven(self.off_us, self.starts)

    def take(self, where: npt.NDArray[np.bool_]) -> Blocks:
        """The blocks that a mask selects."""
        if where.all():
            return self
        inside = np.repeat(where, self.counts)
        counts = self.counts[where]
        return Blocks(
            self.series_id[inside],
            self.ts[inside],
            self.value[inside],
            np.cumsum(counts) - counts,
            counts,
            self.step_us[where],
            self.off_us[inside],
        )

    def spans(self) -> tuple[Int64, Int64, Int64]:
        """Each series once, and the times of its oldest and of its newest sample."""
        first = np.flatnonzero(np.diff(self.series_id[self.starts], prepend=-1))
        begins = self.starts[first]
        ends = np.append(begins[1:], len(self.ts))
        return self.series_id[begins], self.ts[begins], self.ts[ends - 1]


def make_blocks(series_id: Int64, ts: Int64, value: Float64) -> Blocks:
    """Sort samples by series and time (equal times keep their order) and cut them into blocks."""
    order = _order(series_id, ts)
    series_id, ts, value = series_id[order], ts[order], value[order]
    changes = np.diff(series_id) != 0
    changes |= np.diff(ts // DAY_US) != 0
    starts, counts = _cut(np.flatnonzero(changes) + 1, len(ts))
    if counts.max(initial=0) > MOST_SAMPLES:
        full = positions(starts, counts) % MOST_SAMPLES == 0
        starts, counts = _cut(np.flatnonzero(full)[1:], len(ts))
    step_us, off_us = _beat(ts, starts, counts)
    return Blocks(series_id, ts, value, starts, counts, step_us, off_us)


def positions(starts: Int64, counts: Int64) -> Int64:
    """The position of each sample within its block."""
    return np.arange(int(counts.sum())) - np.repeat(starts, counts)


def _cut(inner_starts: Int64, length: int) -> tuple[Int64, Int64]:
    starts = np.concatenate(([0], inner_starts)).astype(np.int64)[:length]
    return starts, np.diff(starts, append=length)


def _order(series_id: Int64, ts: Int64) -> Int64:
    """A stable order by (series, time); numpy sorts 16-bit keys by radix, in linear time."""
    by_time = None if np.all(ts[1:] >= ts[:-1]) else np.argsort(ts, kind="stable")
    keys = series_id if by_time is None else series_id[by_time]
    low = int(keys.min(initial=0))
    if len(keys) and int(keys.max()) - low < 2**16:
        keys = (keys - low).astype(np.uint16)
    by_series = np.argsort(keys, kind="stable")
    return by_series if by_time is None else by_time[by_series]


def _beat(ts: Int64, starts: Int64, counts: Int64) -> tuple[Int64, Int64]:
    """The step of each block, and the offset of each sample from its step.

    The step is that of the first two samples if it fits all samples, else the median step: then
    offsets stay small and change little, which compresses well.
    """
    step = ts[starts + (counts > 1)] - ts[starts]
    off = _offsets(ts, starts, counts, step)
    uneven = _uneven(off, starts)
    if uneven.any():
        step[uneven] = _median_steps(ts, starts, counts, uneven)
        off = _offsets(ts, starts, counts, step)
    return step, off


def _offsets(ts: Int64, starts: Int64, counts: Int64, step: Int64) -> Int64:
    return ts - np.repeat(ts[starts], counts) - np.repeat(step, counts) * positions(starts, counts)


def _uneven(off: Int64, starts: Int64) -> npt.NDArray[np.bool_]:
    if not len(starts):
        return np.empty(0, np.bool_)
    found: npt.NDArray[np.bool_] = np.logical_or.reduceat(off != 0, starts)
    return found


def _median_steps(
    ts: Int64, starts: Int64, counts: Int64, selected: npt.NDArray[np.bool_]
) -> Int64:
    """The median step of each of these blocks, which have at least two samples each."""
    inside = np.repeat(selected, counts)
    inside[starts] = False
    steps = np.diff(ts, prepend=0)[inside]
    sizes = counts[selected] - 1
    steps = steps[np.lexsort((steps, np.repeat(np.arange(len(sizes)), sizes)))]
    median: Int64 = steps[np.cumsum(sizes) - sizes + sizes // 2]
    return median
