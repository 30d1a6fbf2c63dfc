"""From the body of an export of metrics to a record batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gputel.model.bounds import RAW_BYTES
from gputel.model.raw_labels import raw_text
from gputel.sources.exposition.labels import NoGpu, record_labels
from gputel.sources.exposition.read_samples import (
    KnownLabels,
    LabelBudget,
    ReadSamples,
    TooManySamples,
    read_samples,
)
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.otlp.json import json_metrics
from gputel.sources.otlp.labels import metric_name, point_labels, resource_labels
from gputel.sources.otlp.points import (
    LARGE,
    MOST_ATTRIBUTES,
    NO_NAME,
    NO_TIME,
    NO_VALUE,
    Attribute,
    Attributes,
    Metric,
    Point,
    PointRefused,
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

        Raises WireFlaw if it is damaged, TooManySamples if it has over ``most`` points, and
        LargeLabels.
        """
        return _Reading(self._known, most).read(WireRequest(body, most).metrics())

    def read_json(self, body: bytes, most: int = 100_000) -> ReadSamples:
        """The same for JSON. Raises JsonFlaw, TooManySamples and LargeLabels."""
        return _Reading(self._known, most).read(json_metrics(body))


class _Resource(NamedTuple):
    """The labels of a resource, as a text too, and their size. ``labels`` is None if too large."""

    labels: Mapping[str, str] | None
    text: str
    size: int


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
        self._budget = LabelBudget()
        self._attributes: Attributes | None = None  # of the resource before
        self._resource = _Resource({}, "", 0)

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
        except PointRefused as refused:
            return str(refused)
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
        """The labels of the record; None if the point names no GPU. Raises PointRefused."""
        resource = self._resource_of(metric.resource)
        if not isinstance(point.attributes, bytes):
            return self._new_labels(resource, metric.name, point)
        key = (resource.text, metric.name, point.attributes)
        try:
            return self._known[key]
        except KeyError:
            labels = self._new_labels(resource, metric.name, point)
        self._known.remember(key, labels, sum(map(len, key)))
        return labels

    def _resource_of(self, attributes: Attributes) -> _Resource:
        if attributes is not self._attributes:
            self._attributes, self._resource = attributes, _resource(attributes)
        if self._resource.labels is None:
            raise PointRefused(LARGE)
        return self._resource

    def _new_labels(self, resource: _Resource, metric: str, point: Point) -> tuple[str, ...] | None:
        own = point_labels(_read(point.attributes, POINT_ATTRIBUTES))
        size = resource.size + _size(own)
        self._budget.count(size)
        if size > RAW_BYTES:
            raise PointRefused(LARGE)
        try:
            return record_labels(metric_name(metric), {**(resource.labels or {}), **own})
        except NoGpu:
            return None


def _resource(attributes: Attributes) -> _Resource:
    try:
        labels = resource_labels(_read(attributes, RESOURCE_ATTRIBUTES))
    except PointRefused:
        return _Resource(None, "", 0)
    size = _size(labels)
    return _Resource(None, "", 0) if size > RAW_BYTES else _Resource(labels, raw_text(labels), size)


def _size(labels: Mapping[str, str]) -> int:
    return sum(len(name) + len(text) for name, text in labels.items())


def _read(attributes: Attributes, number: int) -> list[Attribute] | tuple[Attribute, ...]:
    """The attributes as they are, or from protobuf. Raises PointRefused if they are too many."""
    read = attributes_of(attributes, number) if isinstance(attributes, bytes) else attributes
    if len(read) > MOST_ATTRIBUTES:
        raise PointRefused(LARGE)
    return read
