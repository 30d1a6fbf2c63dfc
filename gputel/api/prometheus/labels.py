"""The labels of a stored series by the names of dcgm-exporter, and the columns they come from.

``labels_raw`` has all labels that the exporter wrote, in Prometheus' text format. Labels without a
column of their own come from there: ``instance``, ``job``, the version of the driver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from sys import getsizeof, intern
from types import MappingProxyType

from gputel.model.names import LABEL_COLUMNS
from gputel.promql.values.labels import Labels, from_mapping
from gputel.store.read.records import SeriesLabels

COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {column.prometheus: column.name for column in LABEL_COLUMNS if column.prometheus}
)
"""The columns of labels. They override ``labels_raw``."""

MOST_RAW_LABELS = 128
"""The most labels that are read from ``labels_raw``."""

_PAIR = re.compile(
    r'(?<![A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*+)="((?:[^"\\]|\\.)*+)(?:"|\Z)',
    re.ASCII | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PAIR_BYTES = 72


def prometheus_labels(series: SeriesLabels) -> Labels:
    """The labels of the series. Empty ones are left out."""
    labels: dict[str, str] = {}
    for match in islice(_PAIR.finditer(series.labels_raw), MOST_RAW_LABELS):
        if match.end(2) < match.end():  # its closing quote is there
            labels[intern(match[1])] = _unescaped(match[2])
    labels |= {name: getattr(series, column) for name, column in COLUMN_OF.items()}
    return from_mapping(labels)


def labels_bytes(labels: Labels) -> int:
    """The approximate memory of the labels, without the texts of their stored series."""
    own = (pair for pair in labels if pair[0] not in COLUMN_OF)
    texts = sum(getsizeof(name) + getsizeof(text) for name, text in own)
    return texts + _PAIR_BYTES * (1 + len(labels))


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
