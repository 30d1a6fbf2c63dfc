"""From the body of an export of metrics to a record batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from gputel.sources.exposition.labels import NoGpu, record_labels
from gputel.sources.exposition.read_samples import (
    KnownLabels,
    ReadSamples,
    TooManySamples,
    read_samples,
)
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.otlp.json import json_metrics
from gputel.sources.otlp.labels import labels_of, metric_name
from gputel.sources.otlp.points import (
    LIST_ATTRIBUTE,
    NO_NAME,
    NO_TIME,
    NO_VALUE,
    Attribute,
    Attributes,
    ListAttribute,
    Metric,
    Point,
)
from gputel.sources.otlp.wire import (
    POINT_ATTRIBUTES,
    RESOURCE_ATTRIBUTES,
    WireRequest,
    attributes_of,
)

_NO_GPU = "no_gpu"


class OtlpReader:
    """Reads bodies, and remembers the labels of the series that it met. Threads may share it."""

    def __init__(self) -> None:
        self._known = KnownLabels()

    def read_protobuf(self, body: bytes, most: int = 100_000) -> ReadSamples:
        """The records of a body in protobuf. ``left_out`` has also the keys of REFUSALS.

        Raises WireFlaw if it is damaged, TooManySamples if it has over ``most`` points.
        """
        return _Reading(self._known, most).read(WireRequest(body, most).metrics())

    def read_json(self, body: bytes, most: int = 100_000) -> ReadSamples:
        """The same for JSON. Raises JsonFlaw and TooManySamples."""
        return _Reading(self._known, most).read(json_metrics(body))


class _Reading:
    """The records of one body, as they are read."""

    def __init__(self, known: KnownLabels, most: int) -> None:
        self._known = known
        self._points_left = most
        self._table = SeriesTable()
        self._rows: list[int] = []
        self._values: list[bytes] = []
        self._times_us: list[int] = []
        self._left_out = Counter[str]()

    def read(self, metrics: Iterator[Metric]) -> ReadSamples:
        for metric in metrics:
            self._count(metric.refused)
            self._left_out[metric.refusal] += metric.refused
            for point in metric.points:
                self._count(1)
                if reason := self._add(metric, point):
                    self._left_out[reason] += 1
        times_us = np.array(self._times_us, np.int64)
        left_out = {reason: count for reason, count in self._left_out.items() if count}
        return read_samples(self._table, self._rows, self._values, times_us, left_out)

    def _count(self, points: int) -> None:
        self._points_left -= points
        if self._points_left < 0:
            raise TooManySamples

    def _add(self, metric: Metric, point: Point) -> str:
        """Add a point; else say why it is left out."""
        try:
            labels = self._labels(metric, point)
        except ListAttribute:
            return LIST_ATTRIBUTE
        if labels is None:
            return _NO_GPU
        if not metric.name:
            return NO_NAME
        if not point.time_ns:
            return NO_TIME
        if point.value is None:
            return NO_VALUE
        self._rows.append(self._table.index_of(labels))
        self._values.append(point.value)
        self._times_us.append(point.time_ns // 1000)
        return ""

    def _labels(self, metric: Metric, point: Point) -> tuple[str, ...] | None:
        """The labels of the record; None if the point names no GPU. Raises ListAttribute."""
        if not isinstance(metric.resource, bytes) or not isinstance(point.attributes, bytes):
            return _record_labels(metric, point)
        key = (metric.resource, metric.name, point.attributes)
        try:
            return self._known[key]
        except KeyError:
            labels = _record_labels(metric, point)
        self._known.remember(key, labels, sum(map(len, key)))
        return labels


def _record_labels(metric: Metric, point: Point) -> tuple[str, ...] | None:
    labels = labels_of(
        _read(metric.resource, RESOURCE_ATTRIBUTES), _read(point.attributes, POINT_ATTRIBUTES)
    )
    try:
        return record_labels(metric_name(metric.name), labels)
    except NoGpu:
        return None


def _read(attributes: Attributes, number: int) -> list[Attribute] | tuple[Attribute, ...]:
    return attributes_of(attributes, number) if isinstance(attributes, bytes) else attributes
