"""Lanes: each gives one record a step, and is one series or a group of series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gputel.model.dcgm_fields import field
from gputel.store.blocks.blocks import Int64
from gputel.store.read.records import SeriesLabels

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True)
class Lanes:
    """Series ids in order of lane, the lane of each, and the labels by number of lane.

    ``gpu`` has for each series the first one of its lane that measures the same: the same metric
    of the same GPU, or MIG instance. A label that changes, such as the pod, does not change what
    is measured. ``is_counter`` says of each series whether its metric is a counter.
    """

    series_ids: Int64
    lane: Int64
    gpu: Int64
    is_counter: npt.NDArray[np.bool_]
    labels: Mapping[int, Any]

    def __len__(self) -> int:
        return len(self.series_ids)

    def of(self, series_ids: Int64) -> Int64:
        """The lane of each of these series."""
        return self._of(series_ids, self.lane)

    def gpu_of(self, series_ids: Int64) -> Int64:
        """The series in ``gpu`` for each of these series."""
        return self._of(series_ids, self.gpu)

    def are_counters(self, series_ids: Int64) -> npt.NDArray[np.bool_]:
        """Whether each of these series is of a counter."""
        return self._of(series_ids, self.is_counter)

    def batches(self, count: int) -> Iterator[Lanes]:
        """Split into about ``count`` parts without splitting a lane."""
        starts = np.flatnonzero(np.diff(self.lane, prepend=self.lane[0] - 1))
        targets = np.linspace(0, len(self), min(count, len(starts)) + 1)[:-1]
        cuts = np.unique(starts[np.searchsorted(starts, targets, "right") - 1]).tolist()
        for first, end in zip(cuts, [*cuts[1:], len(self)], strict=True):
            yield self._part(slice(first, end))

    def _part(self, part: slice) -> Lanes:
        ids, lane, gpu = self.series_ids[part], self.lane[part], self.gpu[part]
        return Lanes(ids, lane, gpu, self.is_counter[part], self.labels)

    def _of(self, series_ids: Int64, column: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
        order = np.argsort(self.series_ids)
        return column[order][np.searchsorted(self.series_ids[order], series_ids)]


def each(series: Mapping[int, SeriesLabels]) -> Lanes:
    """One lane for each series, with the series id as its number."""
    ids = np.array(sorted(series), np.int64)
    counters = [field(series[series_id].metric_name).is_counter for series_id in ids.tolist()]
    return Lanes(ids, ids, ids, np.array(counters, np.bool_), series)


def grouped(series: Mapping[int, SeriesLabels], columns: Sequence[str]) -> Lanes:
    """One lane for each combination of values of these labels, numbered in sorted order."""
    texts = attrgetter("metric_name", *columns)  # always a tuple of several
    of = {
        series_id: (texts(labels) if columns else (labels.metric_name,))
        for series_id, labels in series.items()
    }
    groups = sorted(set(of.values()))
    numbers = {group: number for number, group in enumerate(groups)}
    lane: list[int] = []
    gpu: list[int] = []
    first: dict[tuple[int, str, str], int] = {}
    ids = sorted(of, key=lambda series_id: (numbers[of[series_id]], series_id))
    for series_id in ids:
        lane.append(numbers[of[series_id]])
        gpu.append(first.setdefault((lane[-1], *_measured(series[series_id])), series_id))
    series_ids, of_lane, of_gpu = (np.array(column, np.int64) for column in (ids, lane, gpu))
    counters = each(series).are_counters(series_ids)
    return Lanes(series_ids, of_lane, of_gpu, counters, dict(enumerate(groups)))


def _measured(labels: SeriesLabels) -> tuple[str, str]:
    """What a series of its metric measures: a GPU, or a MIG instance of it."""
    return labels.uuid, "" if field(labels.metric_name).is_of_board else labels.gpu_i_id
