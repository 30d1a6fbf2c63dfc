"""The evaluator: an expression, samples and steps go in, its value at every step comes out.

It holds the CPU and does no input or output: run it in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from gputel.promql.aggregate import aggregated
from gputel.promql.binary import combined
from gputel.promql.functions.calls import CALLS, Arguments, absent_labels
from gputel.promql.functions.count_values import count_values
from gputel.promql.functions.over_ranges import KEEPS_NAME, RANGE_FUNCTIONS, WITH_SCALARS
from gputel.promql.reach import LOOKBACK_US, inner_steps, moments
from gputel.promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Node,
    Number,
    Selector,
    Subquery,
    Text,
    Unary,
    is_range,
    left_spine,
    unwrapped,
)
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.labels import without_name
from gputel.promql.values.samples import SeriesSamples, of_vector
from gputel.promql.values.vector import Bools, Float64, Int64, Scalar, String, Value, Vector
from gputel.promql.values.windows import blocks, newest, windows

V = TypeVar("V", Scalar, Vector, String)


def evaluate(
    node: Node, steps_us: Int64, samples: Mapping[Selector, SeriesSamples], bounds: EvaluationBounds
) -> Value:
    """The value of the expression at the steps, Unix microseconds in order.

    ``samples`` has what each selector reads (``reach.reaches``). Raises ExpressionFailed if series
    do not match or the bounds are passed, and what ``bounds.check`` raises.
    """
    with np.errstate(all="ignore"):  # in all that is called: NaN and infinities are values too
        return _Evaluation(steps_us, samples, bounds).value(node)


def range_samples(
    node: Selector | Subquery,
    steps_us: Int64,
    samples: Mapping[Selector, SeriesSamples],
    bounds: EvaluationBounds,
) -> SeriesSamples:
    """The samples that a range vector reads at the steps: those of a selector, or computed."""
    with np.errstate(all="ignore"):
        return _Evaluation(steps_us, samples, bounds).samples(node)


class _Evaluation:
    def __init__(
        self, steps_us: Int64, samples: Mapping[Selector, SeriesSamples], bounds: EvaluationBounds
    ) -> None:
        self._steps = steps_us
        self._samples = samples
        self._bounds = bounds

    def value(self, node: Node) -> Value:
        """The value of any expression but a range vector, which only functions take."""
        self._bounds.check()
        node = unwrapped(node)
        if isinstance(node, Number):
            return Scalar(np.full(len(self._steps), node.value))
        if isinstance(node, Text):
            return String(node.value)
        if isinstance(node, Selector):
            return self._newest(node, timestamps=False)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Aggregation):
            return self._aggregate(node)
        if isinstance(node, Binary):
            return self._binary(node)
        assert isinstance(node, Unary), "the parser checks types"
        return self._unary(node)

    def _aggregate(self, node: Aggregation) -> Vector:
        if node.op == "count_values":
            assert node.param is not None
            label = self._of(String, node.param).value
            return count_values(node, label, self._of(Vector, node.expr), self._bounds)
        param = None if node.param is None else self._of(Scalar, node.param).values
        return aggregated(node, self._of(Vector, node.expr), param, self._bounds)

    def _binary(self, node: Binary) -> Value:
        first, spine = left_spine(node)
        left = self._operand(first)
        for each in spine:
            with self._bounds.holding(left):
                right = self._operand(each.right)
                with self._bounds.holding(right):
                    left = combined(each, left, right, self._bounds)
        return left

    def _unary(self, node: Unary) -> Value:
        operand = self._operand(node.expr)
        if node.op == "+":
            return operand
        if isinstance(operand, Scalar):
            return Scalar(-operand.values)
        return operand.renamed(without_name, -operand.values)

    def _operand(self, node: Node) -> Scalar | Vector:
        value = self.value(node)
        assert not isinstance(value, String), "the parser checks types"
        return value

    def _of(self, kind: type[V], node: Node) -> V:
        value = self.value(node)
        assert isinstance(value, kind), "the parser checks types"
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

    def samples(self, node: Selector | Subquery) -> SeriesSamples:
        """What a range vector reads."""
        if isinstance(node, Selector):
            return self._samples[node]
        steps = inner_steps(node, self._steps, self._bounds.max_points)
        if not len(steps):
            return SeriesSamples([], np.zeros(1, np.int64), steps, np.zeros(0))
        vector = _Evaluation(steps, self._samples, self._bounds)._of(Vector, node.expr)
        with self._bounds.holding(vector):
            return of_vector(vector, steps)

    def _call(self, node: Call) -> Value:
        args = [unwrapped(arg) for arg in node.args]
        for arg in args:
            if is_range(arg):
                return self._over_time(node.name, arg, [each for each in args if each is not arg])
        if node.name == "timestamp" and isinstance(args[0], Selector):
            vector = self._newest(args[0], timestamps=True)
            return vector.mapped(without_name, vector.values)
        values = [self.value(arg) for arg in args]
        return CALLS[node.name](Arguments(args, values, self._steps, self._bounds))

    def _over_time(self, name: str, node: Selector | Subquery, rest: list[Node]) -> Vector:
        """A function of windows; ``rest`` are its scalars."""
        scalars = [self._of(Scalar, each).values for each in rest]
        samples, ends = self.samples(node), moments(node, self._steps)
        shape = len(samples), len(ends)
        self._bounds.admit(*shape)
        values, there = np.empty(shape), np.empty(shape, np.bool_)
        if node.at is not None and not scalars:
            ends = ends[:1]  # the same window at every step
        wanted = "present_over_time" if name == "absent_over_time" else name
        range_s = node.range_us / 1e6 if node.range_us else 0.0
        for rows in blocks(len(samples), len(ends)):
            self._bounds.check()
            part = samples.part(rows.start, rows.stop)
            found = windows(part, ends, node.range_us or 0, self._bounds.check)
            if scalars:
                values[rows], there[rows] = WITH_SCALARS[wanted](found, *scalars, self._steps)
            else:
                values[rows], there[rows] = RANGE_FUNCTIONS[wanted](found, range_s)
        if name == "absent_over_time":
            nothing: Bools = np.logical_not(there.any(axis=0)).reshape(1, -1)
            return Vector([absent_labels(node)], np.ones(nothing.shape), nothing)
        seen = _seen(samples, values, there)
        return seen if name in KEEPS_NAME else seen.renamed(without_name, seen.values)


def _seen(samples: SeriesSamples, values: Float64, there: Bools) -> Vector:
    """The series that are there at some step."""
    return Vector(samples.labels, values, there).rows(np.flatnonzero(there.any(axis=1)))
