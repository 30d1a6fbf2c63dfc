"""Blocks in, samples newest first out: a merge that holds only what may still be overtaken.

Blocks come by falling ``last_ts`` and overlap in time. Once a block that ends at T has come, no
later one holds a sample after T, so every held sample after T is in its final place.
"""

from __future__ import annotations

import numpy as np

from gputel.store.blocks import Float64
from gputel.store.samples import Samples, concatenate

_WHOLE_LIMIT = 2.0**53


class NewestFirst:
    """The merge; ``start_us`` and ``end_us`` are inclusive Unix microseconds."""

    def __init__(self, start_us: int, end_us: int) -> None:
        self._start_us = start_us
        self._end_us = end_us
        self._held: list[Samples] = []

    def push(self, samples: Samples, floor_us: int) -> Samples:
        """Take samples whose last block ends at ``floor_us``; return all that are now final."""
        inside = (samples.ts >= self._start_us) & (samples.ts <= self._end_us)
        self._held.append(samples.take(inside))
        final, held = [], []
        for piece in self._held:
            late = piece.ts > floor_us
            final.append(piece.take(late))
            held.append(piece.take(~late))
        self._held = [concatenate(held)]
        return sort(concatenate(final))

    def rest(self) -> Samples:
        """What is still held, when no further block comes."""
        rest, self._held = concatenate(self._held), []
        return sort(rest)


def sort(samples: Samples) -> Samples:
    """Newest first; samples of one instant by series, then value: always the same order."""
    return samples.take(np.lexsort((samples.value, samples.series_id, -samples.ts)))


def numbers(values: Float64) -> list[float]:
    """Python's numbers, whole ones as int where a float holds them exactly: 0, not 0.0."""
    found: list[float] = values.tolist()
    whole = (np.abs(values) <= _WHOLE_LIMIT) & (np.trunc(values) == values)
    for place in np.flatnonzero(whole).tolist():
        found[place] = int(found[place])
    return found
