"""What an expression is worth: a number or a set of series, at every step at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gputel.errors import ExpressionFailed
from gputel.promql.values.labels import Labels, shown

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scalar:
    """One number a step."""

    values: Float64

    @property
    def points(self) -> int:
        """How many numbers it has."""
        return self.values.size


@dataclass(frozen=True)
class String:
    """Text, the same at every step."""

    value: str

    @property
    def points(self) -> int:
        """None: it is no number."""
        return 0


@dataclass(frozen=True)
class Vector:
    """Series by steps. ``present`` tells which of ``values`` count: NaN is a value like others."""

    labels: list[Labels]
    values: Float64
    present: Bools

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def points(self) -> int:
        """Series times steps."""
        return self.values.size

    def mapped(self, rename: Callable[[Labels], Labels], values: Float64) -> Vector:
        """Other values for the same samples, under other labels."""
        return merged(Vector([rename(labels) for labels in self.labels], values, self.present))

    def renamed(self, rename: Callable[[Labels], Labels], values: Float64) -> Vector:
        """As ``mapped``, of series that are there at some step, which must stay apart.

        Prometheus works these by series: two of the same labels fail even if they take turns.
        """
        found = Vector(self.labels, values, self.present)
        found = found.rows(np.flatnonzero(self.present.any(axis=1)))
        labels = [rename(each) for each in found.labels]
        if len(set(labels)) < len(labels):
            raise ExpressionFailed("vector cannot contain metrics with the same labelset")
        return Vector(labels, found.values, found.present)

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
    shape = len(first), vector.values.shape[1]
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    for source, target in enumerate(group.tolist()):
        here = vector.present[source]
        if (present[target] & here).any():
            raise ExpressionFailed(
                "vector cannot contain metrics with the same labelset: several have "
                f"{shown(vector.labels[source])}"
            )
        values[target, here] = vector.values[source, here]
        present[target] |= here
    return Vector(list(first), values, present)
