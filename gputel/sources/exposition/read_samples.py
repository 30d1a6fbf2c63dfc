"""The samples of one body of a sender, as a record batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.columns import STALE_BITS
from gputel.sources.exposition.series_table import SeriesTable

_MOST_REMEMBERED_BYTES = 64 * 1024 * 1024
MOST_LABEL_CHARACTERS = 64 * 1024 * 1024
"""Of the labels of all series of a body."""


class TooManySamples(ValueError):
    """A body has more samples than it may have."""


class LargeLabels(ValueError):
    """The labels of all series of a body are too large together."""


class LabelBudget:
    """Bounds the labels of the series of one body, in which many series may share a text."""

    def __init__(self) -> None:
        self._left = MOST_LABEL_CHARACTERS

    def count(self, characters: int) -> None:
        """Count the labels of a series. Raises LargeLabels."""
        self._left -= characters
        if self._left < 0:
            raise LargeLabels


@dataclass(frozen=True)
class ReadSamples:
    """The records of one body. ``batch`` has SCHEMA.

    ``ends``: the rows that only say that their series has ended, whose value is 0 here.
    ``left_out``: how many samples are no records, by reason: ``no_gpu``, ``histogram``, ...
    """

    batch: pa.RecordBatch
    ends: npt.NDArray[np.bool_]
    left_out: Mapping[str, int]


def read_samples(
    table: SeriesTable,
    rows: Sequence[int],
    values: Sequence[bytes],
    times_us: npt.ArrayLike,
    left_out: Mapping[str, int],
) -> ReadSamples:
    """Samples by the index of their series: the 8 bytes of each value, and Unix microseconds."""
    bits = np.frombuffer(b"".join(values), "<i8")
    ends = bits == STALE_BITS
    readings = np.where(ends, 0.0, bits.view("<f8"))
    return ReadSamples(table.batch(np.array(rows, np.int64), readings, times_us), ends, left_out)


class KnownLabels(dict[Hashable, tuple[str, ...] | None]):
    """The labels of records by what senders write for them; None is for series without a GPU.

    It forgets all of them when it has too many. Threads may share it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def remember(self, key: Hashable, labels: tuple[str, ...] | None, key_bytes: int) -> None:
        """Add the labels of a key that has so many bytes."""
        size = key_bytes + sum(map(len, labels or ()))
        if self._bytes + size > _MOST_REMEMBERED_BYTES:
            self.clear()
            self._bytes = 0
        self[key] = labels
        self._bytes += size
