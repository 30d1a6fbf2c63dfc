"""From the body of a remote write to a record batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.columns import STALE_BITS
from gputel.sources.exposition.labels import NoGpu, record_labels
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.remote_write.wire import (
    Series,
    TooManySamples,
    WireFlaw,
    labels_of,
    series_1,
    series_2,
)

_MOST_REMEMBERED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class ReadWrite:
    """The records of one body. ``batch`` has SCHEMA.

    ``ends``: the rows that only say that their series has ended, whose value is 0 here.
    ``no_gpu``: samples of series that name no GPU. ``histograms`` and ``exemplars``: none of them
    is stored.
    """

    batch: pa.RecordBatch
    ends: npt.NDArray[np.bool_]
    no_gpu: int
    histograms: int
    exemplars: int


class RemoteWriteReader:
    """Reads bodies, and remembers the labels of the series that it met. Threads may share it."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, ...] | None] = {}
        self._known_bytes = 0

    def read(self, body: bytes, version: int, most: int = 100_000) -> ReadWrite:
        """The records of a body of version 1 or 2, after decompression.

        Raises WireFlaw if it is damaged, TooManySamples if it has over ``most`` samples.
        """
        table = SeriesTable()
        rows: list[int] = []
        values: list[bytes] = []
        times: list[int] = []
        counted = no_gpu = histograms = exemplars = 0
        found = series_1(body, most, self._known) if version == 1 else series_2(body, most)
        for series in found:
            histograms += series.histograms
            exemplars += series.exemplars
            counted += len(series.samples)
            if counted > most:
                raise TooManySamples
            labels = self._labels(series)
            if labels is None:
                no_gpu += len(series.samples)
                continue
            rows += [table.index_of(labels)] * len(series.samples)
            for value, time_ms in series.samples:
                values.append(value)
                times.append(time_ms)
        bits = np.frombuffer(b"".join(values), "<i8")
        ends = bits == STALE_BITS
        readings = np.where(ends, 0.0, bits.view("<f8"))
        batch = table.batch(np.array(rows, np.int64), readings, _microseconds(times))
        return ReadWrite(batch, ends, no_gpu, histograms, exemplars)

    def _labels(self, series: Series) -> tuple[str, ...] | None:
        """The labels of the record; None if the series names no GPU."""
        if isinstance(series.labels, dict):
            return _record_labels(series.labels)
        try:
            return self._known[series.labels]
        except KeyError:
            labels = _record_labels(labels_of(series.labels))
        size = len(series.labels) + sum(map(len, labels or ()))
        if self._known_bytes + size > _MOST_REMEMBERED_BYTES:
            self._known, self._known_bytes = {}, 0
        self._known[series.labels] = labels
        self._known_bytes += size
        return labels


def _record_labels(labels: dict[str, str]) -> tuple[str, ...] | None:
    name = labels.pop("__name__", "")
    if not name:
        raise WireFlaw("a series has no __name__")
    try:
        return record_labels(name, labels)
    except NoGpu:
        return None


def _microseconds(times_ms: list[int]) -> npt.NDArray[np.int64]:
    """Unix milliseconds as microseconds; what does not fit becomes a time that is refused."""
    times = np.array(times_ms, np.int64)
    return np.clip(times, -(1 << 52), 1 << 52) * 1000
