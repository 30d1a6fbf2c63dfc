"""The labels of a stored series as dcgm-exporter names them, and where a matcher looks for them.

``labels_raw`` holds all labels that the exporter gave, in the text that Prometheus writes. Those
that have no column of their own come from there: ``instance``, ``job``, the driver's version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from gputel.promql.labels import NAME, Labels, from_mapping
from gputel.store.records import SeriesLabels

COLUMN_OF: Mapping[str, str] = MappingProxyType(
    {
        NAME: "metric_name",
        "UUID": "uuid",
        "Hostname": "hostname",
        "container": "container",
        "device": "device",
        "gpu": "gpu_id",
        "modelName": "model_name",
        "namespace": "namespace",
        "pod": "pod",
    }
)
"""The column that a label comes from, whatever ``labels_raw`` says."""

_PAIR = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"', re.ASCII | re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_REMEMBERED = 100_000


@lru_cache(_REMEMBERED)
def prometheus_labels(series: SeriesLabels) -> Labels:
    """The labels of the series; those that are empty are left out."""
    found = {name: _unescaped(text) for name, text in _PAIR.findall(series.labels_raw)}
    found |= {name: getattr(series, column) for name, column in COLUMN_OF.items()}
    return from_mapping(found)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
