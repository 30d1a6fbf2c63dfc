"""What an operator does with two numbers, at any number of places at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gputel.promql.values.vector import Bools, Float64

ARITHMETIC: dict[str, Callable[[Float64, Float64], Float64]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
DROPS_NAME = frozenset(ARITHMETIC) - {"atan2"}
"""Arithmetic whose result has no metric's name; in release 2.42 atan2 keeps it."""

COMPARISON: dict[str, Callable[[Float64, Float64], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SETS = frozenset({"and", "or", "unless"})


def compute(
    op: str, left: Float64, right: Float64, *, return_bool: bool, kept: Float64
) -> tuple[Float64, Bools | None]:
    """The values of ``left op right``, and where a comparison holds, which filters.

    A comparison that filters lets values of ``kept`` through.
    """
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right), None
    holds = COMPARISON[op](left, right)
    if return_bool:
        return holds.astype(np.float64), None
    return kept, holds
