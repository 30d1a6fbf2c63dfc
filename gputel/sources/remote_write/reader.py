"""From the body of a remote write to a record batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gputel.sources.exposition.labels import NoGpu, record_labels
from gputel.sources.exposition.read_samples import (
    KnownLabels,
    LabelBudget,
    ReadSamples,
    TooManySamples,
    read_samples,
)
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.protobuf.reading import WireFlaw
from gputel.sources.remote_write.wire import Series, labels_of, series_1, series_2


class RemoteWriteReader:
    """Reads bodies, and remembers the labels of the series that it met. Threads may share it."""

    def __init__(self) -> None:
        self._known = KnownLabels()

    def read(self, body: bytes, version: int, most: int = 100_000) -> ReadSamples:
        """The records of a body of version 1 or 2, after decompression.

        Raises WireFlaw if it is damaged, TooManySamples if it has over ``most`` samples, and
        LargeLabels.
        """
        table = SeriesTable()
        budget = LabelBudget()
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
            labels = self._labels(series, budget)
            if labels is None:
                no_gpu += len(series.samples)
                continue
            rows += [table.index_of(labels)] * len(series.samples)
            for value, time_ms in series.samples:
                values.append(value)
                times.append(time_ms)
        left_out = {"no_gpu": no_gpu, "histogram": histograms, "exemplar": exemplars}
        return read_samples(table, rows, values, _microseconds(times), left_out)

    def _labels(self, series: Series, budget: LabelBudget) -> tuple[str, ...] | None:
        """The labels of the record; None if the series names no GPU."""
        if isinstance(series.labels, dict):
            budget.count(sum(map(len, series.labels.values())))
            return _record_labels(series.labels)
        try:
            return self._known[series.labels]
        except KeyError:
            labels = _record_labels(labels_of(series.labels))
        self._known.remember(series.labels, labels, len(series.labels))
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
