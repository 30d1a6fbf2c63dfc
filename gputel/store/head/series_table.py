"""The labels of the series in memory, with an index of their values."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

import numpy as np

from gputel.model.names import RAW, SERIES_LABELS, UUID
from gputel.store.blocks.blocks import Int64
from gputel.store.read.records import SeriesLabels, memory_bytes
from gputel.store.read.selection import Selection

_INDEXED = [name for name in SERIES_LABELS if name != RAW]
_INDEX_BYTES = 16 * len(_INDEXED)  # of a series: its codes, its places in lists


class _Column:
    """One label: a number for each of its values, and the places of the series that have it."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.of_place = array("i")
        self.places: list[array[int]] = []

    def add(self, text: str, place: int) -> None:
        code = self.codes.setdefault(text, len(self.places))
        if code == len(self.places):
            self.places.append(array("i"))
        self.places[code].append(place)
        self.of_place.append(code)

    def count(self, codes: Iterable[int]) -> int:
        return sum(len(self.places[code]) for code in codes)


class SeriesTable:
    """Series are only added: whoever has seen one may ask for it as long as it has the table.

    Several threads may use it.
    """

    def __init__(self, series: Iterable[SeriesLabels] = ()) -> None:
        self.labels: dict[int, SeriesLabels] = {}
        self.nbytes = 0
        self._lock = Lock()  # around whatever reads or changes the columns
        self._ids = array("q")
        self._columns = {name: _Column() for name in _INDEXED}
        self._of_reading: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.add(series)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, series: Iterable[SeriesLabels]) -> None:
        """Add series that are not in the table."""
        with self._lock:
            for labels in series:
                self._add(labels)

    def _add(self, labels: SeriesLabels) -> None:
        place = len(self._ids)
        for name, column in self._columns.items():
            column.add(getattr(labels, name), place)
        self._of_reading[labels.metric_name, labels.uuid].append(labels.series_id)
        self.labels[labels.series_id] = labels
        self._ids.append(labels.series_id)
        self.nbytes += memory_bytes(labels) + _INDEX_BYTES

    def unknown(self, series_ids: Iterable[int]) -> list[int]:
        """Those of the ids that are not in the table."""
        return [each for each in series_ids if each not in self.labels]

    def of(self, series_ids: Iterable[int]) -> list[SeriesLabels]:
        """The labels of these series."""
        return [self.labels[each] for each in series_ids]

    def where(self, allowed: Mapping[str, Sequence[str]]) -> Int64:
        """The ids of the series whose labels have one of the allowed values, in order.

        ``allowed`` has the values by label.
        """
        if RAW in allowed:
            others = {name: texts for name, texts in allowed.items() if name != RAW}
            found = self.where(others).tolist()
            raw = {*allowed[RAW]}
            return np.array([i for i in found if self.labels[i].labels_raw in raw], np.int64)
        with self._lock:
            codes = {
                name: [known[text] for text in {*texts} if text in known]
                for name, texts in allowed.items()
                for known in [self._columns[name].codes]
            }
            return self._found(codes)

    def selected(self, selection: Selection) -> Int64:
        """The ids of the series that are selected, in order. No condition may be on labels_raw."""
        with self._lock:
            codes: dict[str, list[int]] = {}
            for condition in selection.conditions:
                column = self._columns[condition.label]
                holds = np.flatnonzero(condition.holds([*column.codes])).tolist()
                known = codes.get(condition.label)
                codes[condition.label] = holds if known is None else [*{*known} & {*holds}]
            return self._found(codes)

    def gpu_of(self, series_ids: Int64) -> Int64:
        """A number for the GPU of each series; the ids are in order."""
        with self._lock:
            ids = np.array(self._ids, np.int64)
            of_place = np.array(self._columns[UUID].of_place, np.int64)
        order = np.argsort(ids, kind="stable")
        return of_place[order[np.searchsorted(ids, series_ids, sorter=order)]]

    def _found(self, codes: dict[str, list[int]]) -> Int64:
        """The ids of the series whose labels have one of these codes, in order."""
        ids = np.array(self._ids, np.int64)
        if not codes:
            return np.sort(ids)
        rarest = min(codes, key=lambda name: self._columns[name].count(codes[name]))
        column = self._columns[rarest]
        places = np.concatenate(
            [np.array(column.places[code], np.int64) for code in codes.pop(rarest)]
            or [np.empty(0, np.int64)]
        )
        for name, some in codes.items():
            of_place = np.array(self._columns[name].of_place, np.int32)
            places = places[np.isin(of_place[places], some)]
        return np.sort(ids[places])

    def others_of(self, series_ids: Sequence[int]) -> list[int]:
        """The ids of all other series of the same metrics and GPUs as these."""
        readings = {
            (labels.metric_name, labels.uuid)
            for labels in (self.labels[each] for each in series_ids)
        }
        these = {*series_ids}
        return [
            each for reading in readings for each in self._of_reading[reading] if each not in these
        ]
