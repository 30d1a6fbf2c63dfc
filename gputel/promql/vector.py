"""What an expression is worth: a number or a set of series, at every step at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gputel.errors import ExpressionFailed
from gputel.promql.labels import Labels, shown

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scalar:
    """One number a step."""

    values: Float64


@dataclass(frozen=True)
class String:
    """Text, the same at every step."""

    value: str


@dataclass(frozen=True)
class Vector:
    """Series by steps. ``present`` tells which of ``values`` count: NaN is a value like others."""

    labels: list[Labels]
    values: Float64
    present: Bools

    def __len__(self) -> int:
        return len(self.labels)

    def mapped(self, rename: Callable[[Labels], Labels], values: Float64) -> Vector:
        """Other values for the same samples, under other labels."""
        return merged(Vector([rename(labels) for labels in self.labels], values, self.present))

    def rows(self, places: Int64 | Bools) -> Vector:
        """Some of the series."""
        chosen = np.arange(len(self))[places]
        labels = [self.labels[place] for place in chosen]
        return Vector(labels, self.values[chosen], self.present[chosen])


Value = Scalar | String | Vector


def empty(steps: int) -> Vector:
    """No series."""
    return Vector([], np.empty((0, steps)), np.empty((0, steps), np.bool_))


def merged(vector: Vector) -> Vector:
    """One row for all series of the same labels, which must not have samples at the same step.

    Raises ExpressionFailed where they have.
    """
    first: dict[Labels, int] = {}
    group = np.array([first.setdefault(labels, len(first)) for labels in vector.labels], np.int64)
    if len(first) == len(vector):
        return vector
    steps = vector.values.shape[1]
    counts = np.zeros((len(first), steps), np.int64)
    np.add.at(counts, group, vector.present)
    if counts.max(initial=0) > 1:
        row = int(np.flatnonzero((counts > 1).any(axis=1))[0])
        raise ExpressionFailed(
            "vector cannot contain metrics with the same labelset: several have "
            f"{shown(list(first)[row])}"
        )
    values = np.zeros((len(first), steps))
    for source, target in enumerate(group.tolist()):
        here = vector.present[source]
        values[target, here] = vector.values[source, here]
    return Vector(list(first), values, counts > 0)
