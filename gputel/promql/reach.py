"""The series that an expression reads, and the time of their samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gputel.errors import ExpressionFailed
from gputel.promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Edge,
    Node,
    Paren,
    Selector,
    Subquery,
    Unary,
    left_spine,
)
from gputel.promql.values.bounds import UNLIMITED
from gputel.promql.values.vector import Int64

LOOKBACK_US = 300_000_000
"""The lookback: a sample is a series' value for at most 5 minutes, as in Prometheus."""

DEFAULT_STEP_US = 60_000_000
"""The step of a subquery that names none: 1 minute, Prometheus' interval of evaluation."""


@dataclass(frozen=True)
class Reach:
    """One selector, and the first and last instant of the samples that it needs, both inclusive."""

    selector: Selector
    first_us: int
    last_us: int


def moments(node: Selector | Subquery, steps_us: Int64) -> Int64:
    """The instant at which the selector or subquery looks at its series, for each step."""
    if node.at is None:
        return steps_us - node.offset_us
    assert not isinstance(node.at, Edge), "edges are resolved before"
    return np.full(len(steps_us), node.at - node.offset_us, np.int64)


def inner_steps(node: Subquery, steps_us: Int64, most: int) -> Int64:
    """The steps of the subquery that lie in the window of one of these steps.

    They are multiples of its own step. Raises ExpressionFailed if they are more than ``most``.
    """
    step = node.step_us or DEFAULT_STEP_US
    looks = moments(node, steps_us)
    first, last = -((node.range_us - looks) // step), looks // step
    # Windows overlap: each takes only the steps behind those of the window before.
    first[1:] = np.maximum(first[1:], np.maximum.accumulate(last)[:-1] + 1)
    counts = np.maximum(last - first + 1, 0)
    total = int(counts.sum())
    if total > most:
        raise ExpressionFailed(
            f"a subquery has {total} steps, over the limit of {most} (--query-max-samples): give "
            "it a longer step or a shorter range"
        )
    behind = np.cumsum(counts) - counts
    numbers: Int64 = np.arange(total, dtype=np.int64) + np.repeat(first - behind, counts)
    return numbers * step


def resolved(node: Node, start_us: int, end_us: int) -> Node:
    """The expression with ``@ start()`` and ``@ end()`` as times."""
    again = partial(resolved, start_us=start_us, end_us=end_us)
    if isinstance(node, Selector | Subquery):
        edges = {Edge.START: start_us, Edge.END: end_us}
        at = edges[node.at] if isinstance(node.at, Edge) else node.at
        if isinstance(node, Selector):
            return replace(node, at=at)
        return replace(node, at=at, expr=again(node.expr))
    if isinstance(node, Call):
        return replace(node, args=tuple(map(again, node.args)))
    if isinstance(node, Binary):
        left, spine = left_spine(node)
        left = again(left)
        for each in spine:
            left = replace(each, left=left, right=again(each.right))
        return left
    if isinstance(node, Aggregation):
        param = None if node.param is None else again(node.param)
        return replace(node, expr=again(node.expr), param=param)
    return replace(node, expr=again(node.expr)) if isinstance(node, Unary | Paren) else node


def reaches(node: Node, steps_us: Int64, most: int = UNLIMITED) -> list[Reach]:
    """What each selector in the expression reads; one that is there several times comes once.

    Raises ExpressionFailed if a subquery has more than ``most`` steps.
    """
    reaches_by_selector: dict[Selector, Reach] = {}
    left = [(node, steps_us)]
    while left:
        each, steps = left.pop()
        if isinstance(each, Selector) and len(steps):
            _add(reaches_by_selector, each, steps)
        if isinstance(each, Subquery):
            steps = inner_steps(each, steps, most)
        left += [(child, steps) for child in children(each)]
    return list(reaches_by_selector.values())


def _add(reaches_by_selector: dict[Selector, Reach], selector: Selector, steps_us: Int64) -> None:
    looks = moments(selector, steps_us)
    back = selector.range_us if selector.range_us is not None else LOOKBACK_US
    first, last = int(looks.min()) - back, int(looks.max())
    if known := reaches_by_selector.get(selector):
        first, last = min(first, known.first_us), max(last, known.last_us)
    reaches_by_selector[selector] = Reach(selector, first, last)


def selectors(node: Node) -> Iterator[Selector]:
    """Every selector in the expression."""
    left = [node]
    while left:
        each = left.pop()
        if isinstance(each, Selector):
            yield each
        left += children(each)


def children(node: Node) -> tuple[Node, ...]:
    """The expressions right below a node."""
    if isinstance(node, Call):
        return node.args
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Aggregation):
        return (node.expr,) if node.param is None else (node.param, node.expr)
    return (node.expr,) if isinstance(node, Unary | Paren | Subquery) else ()
