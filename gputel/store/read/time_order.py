"""Blocks in, samples in order of time out: a merge that holds only what may still be overtaken.

Newest first, blocks come by falling ``last_ts`` and overlap in time: once one that ends at T has
come, no later one holds a sample after T, so every held sample after T is in its final place.
Oldest first it is the same with ``first_ts``, before T.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.samples import Samples, concatenate

Mask = npt.NDArray[np.bool_]


class Order(Enum):
    """The order of records in time. Records of one instant are in order of series, then value."""

    NEWEST_FIRST = "desc"
    OLDEST_FIRST = "asc"


class TimeMerge:
    """The merge; ``start_us`` and ``end_us`` are inclusive Unix microseconds."""

    def __init__(self, order: Order, start_us: int, end_us: int) -> None:
        self._order = order
        self._start_us = start_us
        self._end_us = end_us
        self._held: list[Samples] = []

    def push(self, samples: Samples, edge_us: int) -> Samples:
        """Add samples of blocks, return the final ones. The last block ends at ``edge_us``."""
        inside = (samples.ts >= self._start_us) & (samples.ts <= self._end_us)
        self._held.append(samples.take(inside))
        final, pending = [], []
        for piece in self._held:
            settled = self._beyond(piece, edge_us)
            final.append(piece.take(settled))
            pending.append(piece.take(~settled))
        self._held = [concatenate(pending)]
        return sort(concatenate(final), self._order)

    def rest(self) -> Samples:
        """The samples that are left when there are no more blocks."""
        rest, self._held = concatenate(self._held), []
        return sort(rest, self._order)

    def _beyond(self, piece: Samples, edge_us: int) -> Mask:
        return piece.ts > edge_us if self._order is Order.NEWEST_FIRST else piece.ts < edge_us


def sort(samples: Samples, order: Order = Order.NEWEST_FIRST) -> Samples:
    """Sort by time, then series, then value, so that the order is always the same."""
    ts = -samples.ts if order is Order.NEWEST_FIRST else samples.ts
    return samples.take(np.lexsort((samples.value, samples.series_id, ts)))


@dataclass(frozen=True)
class Position:
    """A position in the order of records: behind the ``nth`` (from 1) of several equal samples.

    ``group`` has the labels of the group if the record belongs to a group of series.
    """

    ts_us: int
    series_id: int
    value: float
    nth: int = 1
    group: tuple[str, ...] = ()

    @classmethod
    def of_last(cls, samples: Samples, before: Position | None = None) -> Position:
        """The position behind the last of the samples, which are in order behind ``before``."""
        last = cls(int(samples.ts[-1]), int(samples.series_id[-1]), float(samples.value[-1]))
        same = int(last._same(samples).sum())
        if before is not None and repr(replace(before, nth=1)) == repr(last):  # NaN is not NaN
            same += before.nth
        return cls(last.ts_us, last.series_id, last.value, same)

    def _same(self, samples: Samples) -> Mask:
        alike: Mask = (samples.ts == self.ts_us) & (samples.series_id == self.series_id)
        if np.isnan(self.value):
            alike &= np.isnan(samples.value)
        else:
            alike &= samples.value == self.value
        return alike

    def _before(self, samples: Samples) -> Mask:
        """Which samples of the same instant come before the samples equal to this one."""
        lesser = samples.value < self.value
        if np.isnan(self.value):
            lesser = ~np.isnan(samples.value)  # NaN comes last
        earlier = samples.series_id < self.series_id
        earlier |= (samples.series_id == self.series_id) & lesser
        before: Mask = (samples.ts == self.ts_us) & earlier
        return before


class Resume:
    """Skips the samples up to a position. They come in order, from the position's instant on."""

    def __init__(self, position: Position | None) -> None:
        self._position = position
        self._seen = 0

    def rest(self, samples: Samples) -> Samples:
        """The samples that come after the position."""
        position = self._position
        if position is None or not len(samples):
            return samples
        same = np.flatnonzero(position._same(samples))
        passed = position._before(samples)
        passed[same[: max(0, position.nth - self._seen)]] = True
        self._seen += len(same)
        if samples.ts[-1] != position.ts_us:
            self._position = None
        return samples.take(~passed)
