"""The evaluator: an expression, samples and steps go in, its value at every step comes out.

It holds the CPU and does no input or output: run it in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gputel.promql import functions
from gputel.promql.aggregate import aggregated
from gputel.promql.binary import combined
from gputel.promql.bounds import Bounds
from gputel.promql.labels import without_name
from gputel.promql.nodes import Aggregate, Binary, Call, Negate, Node, Number, Selector, Text
from gputel.promql.range_functions import KEEPS_NAME, RANGE_FUNCTIONS, quantile_over_time
from gputel.promql.reach import LOOKBACK_US, moments
from gputel.promql.samples import SeriesSamples
from gputel.promql.vector import Bools, Float64, Int64, Scalar, String, Value, Vector
from gputel.promql.windows import Windows, blocks, newest, windows


def evaluate(
    node: Node, steps_us: Int64, samples: Mapping[Selector, SeriesSamples], bounds: Bounds
) -> Value:
    """The value of the expression at the steps, Unix microseconds, evenly apart.

    ``samples`` has what each selector reads (``reach.reaches``). Raises ExpressionFailed if series
    do not match or the bounds are passed, and what ``bounds.check`` raises.
    """
    return _Evaluation(steps_us, samples, bounds).value(node)


class _Evaluation:
    def __init__(
        self, steps_us: Int64, samples: Mapping[Selector, SeriesSamples], bounds: Bounds
    ) -> None:
        self._steps = steps_us
        self._samples = samples
        self._bounds = bounds

    def value(self, node: Node) -> Value:
        """The value of any expression but a range vector, which only functions take."""
        self._bounds.check()
        if isinstance(node, Number):
            return Scalar(np.full(len(self._steps), node.value))
        if isinstance(node, Text):
            return String(node.value)
        if isinstance(node, Selector):
            return self._newest(node, timestamps=False)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Aggregate):
            param = None if node.param is None else self._scalar(node.param).values
            return aggregated(node, self._vector(node.expr), param, self._bounds)
        if isinstance(node, Binary):
            return self._binary(node)
        return self._negated(node)

    def _binary(self, node: Binary) -> Value:
        left = self._operand(node.left)
        with self._bounds.holding(left):
            right = self._operand(node.right)
            with self._bounds.holding(right):
                return combined(node, left, right, self._bounds)

    def _negated(self, node: Negate) -> Value:
        operand = self._operand(node.expr)
        if isinstance(operand, Scalar):
            return Scalar(-operand.values)
        return operand.mapped(without_name, -operand.values)

    def _operand(self, node: Node) -> Scalar | Vector:
        value = self.value(node)
        assert not isinstance(value, String), "the parser checks types"
        return value

    def _vector(self, node: Node) -> Vector:
        value = self.value(node)
        assert isinstance(value, Vector), "the parser checks types"
        return value

    def _scalar(self, node: Node) -> Scalar:
        value = self.value(node)
        assert isinstance(value, Scalar), "the parser checks types"
        return value

    def _newest(self, selector: Selector, *, timestamps: bool) -> Vector:
        samples, at = self._samples[selector], moments(selector, self._steps)
        self._bounds.admit(len(samples), len(at))
        values, there = np.zeros((len(samples), len(at))), np.zeros((len(samples), len(at)), bool)
        for rows in blocks(len(samples), len(at)):
            self._bounds.check()
            part = samples.part(rows.start, rows.stop)
            place, there[rows] = newest(part, at, LOOKBACK_US)
            if len(part.ts):
                values[rows] = part.ts[place] / 1e6 if timestamps else part.values[place]
        return _seen(samples, values, there)

    def _call(self, node: Call) -> Value:
        name, args = node.name, node.args
        if name in RANGE_FUNCTIONS or name == "quantile_over_time":
            return self._over_time(node)
        if name in functions.ELEMENTWISE:
            return functions.elementwise(name, self._vector(args[0]))
        return _CALLS[name](self, args)

    def _over_time(self, node: Call) -> Vector:
        selector = node.args[-1]
        assert isinstance(selector, Selector)
        assert selector.range_us is not None
        wanted = self._scalar(node.args[0]).values if len(node.args) == 2 else None
        samples, ends = self._samples[selector], moments(selector, self._steps)
        self._bounds.admit(len(samples), len(ends))
        values = np.empty((len(samples), len(ends)))
        there = np.empty(values.shape, np.bool_)
        if selector.at is not None and wanted is None:
            ends = ends[:1]  # the same window at every step
        for rows in blocks(len(samples), len(ends)):
            self._bounds.check()
            part = samples.part(rows.start, rows.stop)
            found = windows(part, ends, selector.range_us, self._bounds.check)
            values[rows], there[rows] = _applied(node.name, found, selector.range_us, wanted)
        seen = _seen(samples, values, there)
        return seen if node.name in KEEPS_NAME else seen.mapped(without_name, seen.values)

    def round(self, args: tuple[Node, ...]) -> Value:
        to = self._scalar(args[1]) if len(args) > 1 else Scalar(np.ones(len(self._steps)))
        return functions.rounded(self._vector(args[0]), to)

    def clamp(self, args: tuple[Node, ...]) -> Value:
        low, high = self._scalar(args[1]), self._scalar(args[2])
        return functions.clamped(self._vector(args[0]), low, high)

    def clamp_min(self, args: tuple[Node, ...]) -> Value:
        return functions.clamped(self._vector(args[0]), self._scalar(args[1]), None)

    def clamp_max(self, args: tuple[Node, ...]) -> Value:
        return functions.clamped(self._vector(args[0]), None, self._scalar(args[1]))

    def scalar(self, args: tuple[Node, ...]) -> Value:
        return functions.to_scalar(self._vector(args[0]))

    def vector(self, args: tuple[Node, ...]) -> Value:
        return functions.to_vector(self._scalar(args[0]))

    def time(self, _args: tuple[Node, ...]) -> Value:
        return Scalar(self._steps / 1e6)

    def pi(self, _args: tuple[Node, ...]) -> Value:
        return Scalar(np.full(len(self._steps), np.pi))

    def absent(self, args: tuple[Node, ...]) -> Value:
        return functions.absent(args[0], self._vector(args[0]))

    def sort(self, args: tuple[Node, ...]) -> Value:
        return functions.ordered(self._vector(args[0]), descending=False)

    def sort_desc(self, args: tuple[Node, ...]) -> Value:
        return functions.ordered(self._vector(args[0]), descending=True)

    def timestamp(self, args: tuple[Node, ...]) -> Value:
        if isinstance(args[0], Selector):
            vector = self._newest(args[0], timestamps=True)
            return vector.mapped(without_name, vector.values)
        vector = self._vector(args[0])
        times = np.broadcast_to(self._steps / 1e6, vector.values.shape)
        return vector.mapped(without_name, times)


_CALLS: dict[str, Callable[[_Evaluation, tuple[Node, ...]], Value]] = {
    "absent": _Evaluation.absent,
    "clamp": _Evaluation.clamp,
    "clamp_max": _Evaluation.clamp_max,
    "clamp_min": _Evaluation.clamp_min,
    "pi": _Evaluation.pi,
    "round": _Evaluation.round,
    "scalar": _Evaluation.scalar,
    "sort": _Evaluation.sort,
    "sort_desc": _Evaluation.sort_desc,
    "time": _Evaluation.time,
    "timestamp": _Evaluation.timestamp,
    "vector": _Evaluation.vector,
}

FUNCTIONS = frozenset({*RANGE_FUNCTIONS, "quantile_over_time", *functions.ELEMENTWISE, *_CALLS})
"""Every function of the subset."""


def _applied(
    name: str, found: Windows, range_us: int, wanted: Float64 | None
) -> tuple[Float64, Bools]:
    if wanted is not None:
        return quantile_over_time(found, wanted)
    return RANGE_FUNCTIONS[name](found, range_us / 1e6)


def _seen(samples: SeriesSamples, values: Float64, there: Bools) -> Vector:
    """The series that are there at some step."""
    return Vector(samples.labels, values, there).rows(np.flatnonzero(there.any(axis=1)))
