"""Functions of instant vectors and scalars.

Source: prometheus/promql/functions.go, release 2.42.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gputel.promql.values.labels import without_name
from gputel.promql.values.vector import Float64, Scalar, Vector


def _sgn(values: Float64) -> Float64:
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


ELEMENTWISE: dict[str, Callable[[Float64], Float64]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": _sgn,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "rad": lambda values: values * np.pi / 180,
    "deg": lambda values: values * 180 / np.pi,
}
"""Functions of each value alone."""


def rounded(vector: Vector, to: Scalar) -> Vector:
    """To the nearest multiple of ``to``; halves go up."""
    inverse = 1.0 / to.values
    return vector.mapped(without_name, np.floor(vector.values * inverse + 0.5) / inverse)


def clamped(vector: Vector, low: Scalar | None, high: Scalar | None) -> Vector:
    """No less than ``low`` and no more than ``high``; nothing where ``low`` is above ``high``."""
    values, present = vector.values, vector.present
    if high is not None:
        values = _least(values, high.values)
    if low is not None:
        values = -_least(-values, -low.values)
    if low is not None and high is not None:
        present = present & ~(high.values < low.values)
    return Vector(vector.labels, vector.values, present).mapped(without_name, values)


def _least(values: Float64, bound: Float64) -> Float64:
    """The less of two numbers; as in Go, an infinite one counts more than NaN."""
    infinite = (values == -np.inf) | (bound == -np.inf)
    return np.where(infinite, -np.inf, np.minimum(values, bound))


def to_scalar(vector: Vector) -> Scalar:
    """The value of the only series; NaN at steps where there is none, or more than one."""
    alone = vector.present.sum(axis=0) == 1
    total = np.where(vector.present, vector.values, 0.0).sum(axis=0)
    return Scalar(np.where(alone, total, np.nan))


def to_vector(scalar: Scalar) -> Vector:
    """One series without labels."""
    return Vector([()], scalar.values[None, :], np.ones((1, len(scalar.values)), np.bool_))


def ordered(vector: Vector, *, descending: bool) -> Vector:
    """Rows by their value at the last step, NaN last: what an instant query shows."""
    values = np.where(vector.present[:, -1], vector.values[:, -1], np.nan)
    key = -values if descending else values
    return vector.rows(np.lexsort((key, np.isnan(key))))
