"""Lanes: each gives one record a step, and is one series or a group of series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from gputel.store.blocks.blocks import Int64
from gputel.store.read.records import SeriesLabels


@dataclass(frozen=True)
class Lanes:
    """Series ids in order of lane, the lane of each, and the labels by number of lane."""

    series_ids: Int64
    lane: Int64
    labels: Mapping[int, Any]

    def __len__(self) -> int:
        return len(self.series_ids)

    def of(self, series_ids: Int64) -> Int64:
        """The lane of each of these series."""
        order = np.argsort(self.series_ids)
        lane: Int64 = self.lane[order][np.searchsorted(self.series_ids[order], series_ids)]
        return lane

    def batches(self, count: int) -> Iterator[Lanes]:
        """Split into about ``count`` parts without splitting a lane."""
        starts = np.flatnonzero(np.diff(self.lane, prepend=self.lane[0] - 1))
        targets = np.linspace(0, len(self), min(count, len(starts)) + 1)[:-1]
        cuts = np.unique(starts[np.searchsorted(starts, targets, "right") - 1]).tolist()
        for first, end in zip(cuts, [*cuts[1:], len(self)], strict=True):
            yield Lanes(self.series_ids[first:end], self.lane[first:end], self.labels)


def each(series: Mapping[int, SeriesLabels]) -> Lanes:
    """One lane for each series, with the series id as its number."""
    ids = np.array(sorted(series), np.int64)
    return Lanes(ids, ids, series)


def grouped(series: Mapping[int, SeriesLabels], columns: Sequence[str]) -> Lanes:
    """One lane for each combination of values of these labels, numbered in sorted order."""
    texts = attrgetter("metric_name", *columns)  # always a tuple of several
    of = {
        series_id: (texts(labels) if columns else (labels.metric_name,))
        for series_id, labels in series.items()
    }
    groups = sorted(set(of.values()))
    numbers = {group: number for number, group in enumerate(groups)}
    ids = np.array(sorted(of, key=lambda series_id: (numbers[of[series_id]], series_id)), np.int64)
    lane = np.array([numbers[of[series_id]] for series_id in ids.tolist()], np.int64)
    return Lanes(ids, lane, dict(enumerate(groups)))
