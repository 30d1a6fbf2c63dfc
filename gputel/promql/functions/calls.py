"""Functions of instant vectors, scalars and strings: their arguments and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from gputel.promql.functions import elementwise as functions
from gputel.promql.functions.dates import DATES
from gputel.promql.functions.elementwise import ELEMENTWISE
from gputel.promql.functions.histograms import histogram_quantile
from gputel.promql.functions.relabel import label_join, label_replace
from gputel.promql.syntax.nodes import MatchOp, Node, Selector
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.labels import NAME, Labels, without_name
from gputel.promql.values.vector import Bools, Float64, Int64, Scalar, String, Value, Vector, empty


@dataclass(frozen=True)
class Arguments:
    """What a function is given: expressions, their values, the steps and the limits."""

    nodes: Sequence[Node]
    values: Sequence[Value]
    steps_us: Int64
    bounds: EvaluationBounds

    def vector(self, position: int) -> Vector:
        """The instant vector at this place."""
        value = self.values[position]
        assert isinstance(value, Vector), "the parser checks types"
        return value

    def scalar(self, position: int) -> Scalar:
        """The scalar at this place."""
        value = self.values[position]
        assert isinstance(value, Scalar), "the parser checks types"
        return value

    def texts(self) -> list[str]:
        """All strings, in order."""
        return [value.value for value in self.values if isinstance(value, String)]


def _elementwise(compute: Callable[[Float64], Float64], arguments: Arguments) -> Vector:
    vector = arguments.vector(0)
    return vector.mapped(without_name, compute(vector.values))


def _date(part: Callable[[Float64], npt.NDArray[np.generic]], arguments: Arguments) -> Vector:
    if not arguments.values:
        # Whole seconds, cut towards zero as Go does.
        seconds = np.trunc(arguments.steps_us / 1e6)
        return functions.to_vector(Scalar(part(seconds).astype(np.float64)))
    vector = arguments.vector(0)
    return vector.mapped(without_name, part(vector.values).astype(np.float64))


def _rounded(arguments: Arguments) -> Vector:
    ones = Scalar(np.ones(len(arguments.steps_us)))
    to = arguments.scalar(1) if len(arguments.values) > 1 else ones
    return functions.rounded(arguments.vector(0), to)


def _timestamp(arguments: Arguments) -> Vector:
    """The time of each step; only a selector's samples have times of their own."""
    vector = arguments.vector(0)
    times = np.broadcast_to(arguments.steps_us / 1e6, vector.values.shape)
    return vector.mapped(without_name, times)


def _absent(arguments: Arguments) -> Vector:
    present = arguments.vector(0).present
    nothing: Bools = np.logical_not(present.any(axis=0)).reshape(1, -1)
    return Vector([absent_labels(arguments.nodes[0])], np.ones(nothing.shape), nothing)


def absent_labels(node: Node) -> Labels:
    """The labels that a selector matches by ``=``, each once; none for other expressions."""
    if not isinstance(node, Selector):
        return ()
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in node.matchers:
        if matcher.name == NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in seen:
            labels[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            labels.pop(matcher.name, None)
    return tuple(sorted(pair for pair in labels.items() if pair[1]))


def _of_native(_arguments: Arguments) -> Vector:
    """A function of native histograms: gputel has none, so the result has no series."""
    return empty(len(_arguments.steps_us))


CALLS: dict[str, Callable[[Arguments], Value]] = {
    **{name: partial(_elementwise, compute) for name, compute in ELEMENTWISE.items()},
    **{name: partial(_date, part) for name, part in DATES.items()},
    "absent": _absent,
    "clamp": lambda a: functions.clamped(a.vector(0), a.scalar(1), a.scalar(2)),
    "clamp_max": lambda a: functions.clamped(a.vector(0), None, a.scalar(1)),
    "clamp_min": lambda a: functions.clamped(a.vector(0), a.scalar(1), None),
    "histogram_count": _of_native,
    "histogram_fraction": _of_native,
    "histogram_quantile": lambda a: histogram_quantile(
        a.scalar(0).values, a.vector(1), a.bounds.check
    ),
    "histogram_sum": _of_native,
    "label_join": lambda a: label_join(a.vector(0), *a.texts()),
    "label_replace": lambda a: label_replace(a.vector(0), a.bounds.check, *a.texts()),
    "pi": lambda a: Scalar(np.full(len(a.steps_us), np.pi)),
    "round": _rounded,
    "scalar": lambda a: functions.to_scalar(a.vector(0)),
    "sort": lambda a: functions.ordered(a.vector(0), descending=False),
    "sort_desc": lambda a: functions.ordered(a.vector(0), descending=True),
    "time": lambda a: Scalar(a.steps_us / 1e6),
    "timestamp": _timestamp,
    "vector": lambda a: functions.to_vector(a.scalar(0)),
}
