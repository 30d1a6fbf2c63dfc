"""count_values: how many series have each value.

Source: ``aggregation`` of prometheus/promql/engine.go, release 2.42.
"""

from __future__ import annotations

import re

import numpy as np

from gputel.errors import ExpressionFailed
from gputel.promql.syntax.go_text import plain_float
from gputel.promql.syntax.nodes import Aggregation
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.labels import NAME, Labels, drop, from_mapping, keep
from gputel.promql.values.vector import Vector

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def count_values(node: Aggregation, label: str, vector: Vector, bounds: EvaluationBounds) -> Vector:
    """The number of series of each group and value, the value in a label of this name."""
    if not _NAME.fullmatch(label):
        raise ExpressionFailed(f'invalid label name "{label}"')
    steps = vector.values.shape[1]
    row, step = np.nonzero(vector.present)
    distinct, which = np.unique(vector.values[row, step], return_inverse=True)
    pairs, which = np.unique(row * len(distinct) + which, return_inverse=True)
    texts = [plain_float(value) for value in distinct.tolist()]
    known: dict[Labels, int] = {}
    group = np.empty(len(pairs), np.int64)
    for place, pair in enumerate(pairs.tolist()):
        source, value = divmod(pair, len(distinct))
        labels = from_mapping({**dict(vector.labels[source]), label: texts[value]})
        group[place] = known.setdefault(_grouped(node, labels, label), len(known))
        if place % 1000 == 0:
            bounds.check()
    bounds.admit(len(known), steps)
    counted = np.bincount(group[which] * steps + step, minlength=len(known) * steps)
    counts = counted.reshape(len(known), steps)
    return Vector(list(known), counts.astype(np.float64), counts > 0)


def _grouped(node: Aggregation, labels: Labels, label: str) -> Labels:
    if node.without:
        return drop(labels, (*node.labels, NAME))
    return keep(labels, (*node.labels, label))
