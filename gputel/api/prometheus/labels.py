"""The labels of a stored series by the names of dcgm-exporter, and the columns they come from.

``labels_raw`` has all labels that the exporter wrote. Those without a column of their own come from
there: ``instance``, ``job``, the version of the driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sys import getsizeof, intern
from types import MappingProxyType

from gputel import metrics
from gputel.model.entities import is_target
from gputel.model.names import LABEL_COLUMNS, RAW, UUID
from gputel.model.raw_labels import LANE_LABELS, read_raw
from gputel.promql.values.labels import Labels, from_mapping
from gputel.store.read.records import SeriesLabels

COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {column.prometheus: column.name for column in LABEL_COLUMNS if column.prometheus}
)
"""The columns of labels. They override ``labels_raw``."""

LANE = ("__name__", "UUID", *LANE_LABELS)
"""A series ends where another one begins that has the same texts of these labels."""

_PAIR_BYTES = 72


@dataclass(frozen=True)
class LabelledSeries:
    """Stored series in order of id, each with its labels by the names of Prometheus."""

    series_ids: list[int] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    readings_of: list[tuple[str, str]] = field(default_factory=list)
    """The metric and GPU of each."""
    labels_bytes: int = 0

    def extend(self, more: LabelledSeries) -> None:
        """Add series, but not their bytes."""
        self.series_ids.extend(more.series_ids)
        self.labels.extend(more.labels)
        self.readings_of.extend(more.readings_of)


def prometheus_labels(series: SeriesLabels) -> Labels:
    """The labels of the series. Empty ones are left out, and so is the uuid of a target.

    If ``labels_raw`` cannot be read as a whole, it is a label itself: series that differ in it stay
    apart.
    """
    raw, whole = read_raw(series.labels_raw)
    labels = {intern(name): text for name, text in raw.items()}
    if not whole:
        metrics.API_LABELS_UNREAD.inc()
        labels[RAW] = series.labels_raw
    labels |= {name: _shown(column, getattr(series, column)) for name, column in COLUMN_OF.items()}
    return from_mapping(labels)


def _shown(column: str, text: str) -> str:
    """The label for the text of a column; empty for a target's uuid: only the store needs it."""
    return "" if column == UUID and is_target(text) else text


def searched_column(label: str, values: Sequence[str]) -> str | None:
    """The column that Postgres can search for these values of a label; None if there is none.

    The column of UUIDs has the uuid of a target, where the label is empty. So Postgres cannot
    search it for an empty text or the uuid of a target.
    """
    column = COLUMN_OF.get(label)
    if column == UUID and any(not text or is_target(text) for text in values):
        return None
    return column


def labels_bytes(labels: Labels) -> int:
    """The approximate memory of the labels, without the texts of their stored series."""
    own = (pair for pair in labels if pair[0] not in COLUMN_OF)
    texts = sum(getsizeof(name) + getsizeof(text) for name, text in own)
    return texts + _PAIR_BYTES * (1 + len(labels))
