"""Blocks in, samples newest first out: a merge that holds only what may still be overtaken.

Blocks come by falling ``last_ts`` and overlap in time. Once a block that ends at T has come, no
later one holds a sample after T, so every held sample after T is in its final place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

PG_EPOCH_US = 946_684_800_000_000
"""2000-01-01, PostgreSQL's zero, in Unix microseconds."""

# array_send: dimensions, null flag, element type, length and bound of the one dimension (20
# bytes), then each element with its length. An empty array has no dimension: 12 bytes.
_HEADER_BYTES = 20
_TIME = np.dtype([("size", ">i4"), ("bits", ">i8")])
_VALUE = np.dtype([("size", ">i4"), ("bits", ">f8")])
_WHOLE_LIMIT = 2.0**53


@dataclass(frozen=True)
class Samples:
    """Columns of one length: the series of each sample, its Unix microseconds, its value."""

    series_id: Int64
    ts: Int64
    value: Float64

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, where: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> Samples:
        """The samples that a mask, an index or a slice selects."""
        return Samples(self.series_id[where], self.ts[where], self.value[where])


EMPTY = Samples(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def decode_blocks(
    series_ids: Sequence[int], ts: Sequence[bytes], value: Sequence[bytes]
) -> Samples:
    """The samples of whole blocks, from the binary form of their arrays."""
    counts = [max(0, len(raw) - _HEADER_BYTES) // _TIME.itemsize for raw in ts]
    times = np.frombuffer(b"".join(memoryview(raw)[_HEADER_BYTES:] for raw in ts), _TIME)
    values = np.frombuffer(b"".join(memoryview(raw)[_HEADER_BYTES:] for raw in value), _VALUE)
    return Samples(
        np.repeat(np.asarray(series_ids, np.int64), counts),
        times["bits"].astype(np.int64) + PG_EPOCH_US,
        values["bits"].astype(np.float64),
    )


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


def concatenate(pieces: Sequence[Samples]) -> Samples:
    """One after the other."""
    if not pieces:
        return EMPTY
    return Samples(
        np.concatenate([piece.series_id for piece in pieces]),
        np.concatenate([piece.ts for piece in pieces]),
        np.concatenate([piece.value for piece in pieces]),
    )


def sort(samples: Samples) -> Samples:
    """Newest first; samples of one instant by series, so that the order is always the same."""
    return samples.take(np.lexsort((samples.series_id, -samples.ts)))


def numbers(values: Float64) -> list[float]:
    """Python's numbers, whole ones as int where a float holds them exactly: 0, not 0.0."""
    found: list[float] = values.tolist()
    whole = (np.abs(values) <= _WHOLE_LIMIT) & (np.trunc(values) == values)
    for place in np.flatnonzero(whole).tolist():
        found[place] = int(found[place])
    return found
