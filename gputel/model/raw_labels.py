"""The labels in ``labels_raw``: all that the exporter wrote, in Prometheus' text format."""

from __future__ import annotations

import re
from itertools import islice
from sys import intern

MOST_RAW_LABELS = 128
"""The most labels that are read from ``labels_raw``."""

LANE_LABELS = ("GPU_I_ID", "instance", "job")
"""Where these, the metric and the GPU are the same, a series ends when another one begins, as when
a pod starts. A series with other texts of them is of something else: another MIG instance, say."""

_PAIR = re.compile(
    r'(?<![A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*+)="((?:[^"\\]|\\.)*+)(?:"|\Z)',
    re.ASCII | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def raw_labels(text: str) -> dict[str, str]:
    """The labels in this text; what is none is passed over."""
    labels: dict[str, str] = {}
    for match in islice(_PAIR.finditer(text), MOST_RAW_LABELS):
        if match.end(2) < match.end():  # its closing quote is there
            labels[intern(match[1])] = _unescaped(match[2])
    return labels


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
