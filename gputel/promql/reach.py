"""Which series an expression reads, and of what time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gputel.promql.nodes import Aggregate, Binary, Call, Edge, Negate, Node, Selector
from gputel.promql.vector import Int64

LOOKBACK_US = 300_000_000
"""How old a series' newest sample may be and still be its value: 5 minutes, as in Prometheus."""


@dataclass(frozen=True)
class Reach:
    """One selector, and the first and last instant of the samples that it needs, both inclusive."""

    selector: Selector
    first_us: int
    last_us: int


def moments(selector: Selector, steps_us: Int64) -> Int64:
    """The instant at which the selector looks at its series, for each step."""
    if selector.at is None:
        return steps_us - selector.offset_us
    assert not isinstance(selector.at, Edge), "edges are resolved before"
    return np.full(len(steps_us), selector.at - selector.offset_us, np.int64)


def resolved(node: Node, start_us: int, end_us: int) -> Node:
    """The expression with ``@ start()`` and ``@ end()`` as times."""
    edges = {Edge.START: start_us, Edge.END: end_us}

    def change(selector: Selector) -> Selector:
        return (
            replace(selector, at=edges[selector.at]) if isinstance(selector.at, Edge) else selector
        )

    return with_selectors(node, change)


def with_selectors(node: Node, change: Callable[[Selector], Selector]) -> Node:
    """The expression with other selectors."""
    if isinstance(node, Selector):
        return change(node)
    if isinstance(node, Call):
        return replace(node, args=tuple(with_selectors(each, change) for each in node.args))
    if isinstance(node, Binary):
        left, right = (with_selectors(each, change) for each in (node.left, node.right))
        return replace(node, left=left, right=right)
    if isinstance(node, Aggregate):
        param = None if node.param is None else with_selectors(node.param, change)
        return replace(node, expr=with_selectors(node.expr, change), param=param)
    if isinstance(node, Negate):
        return replace(node, expr=with_selectors(node.expr, change))
    return node


def reaches(node: Node, steps_us: Int64) -> list[Reach]:
    """What each selector in the expression reads; one that is there twice comes once."""
    found = {}
    for selector in selectors(node):
        looks = moments(selector, steps_us)
        back = selector.range_us if selector.range_us is not None else LOOKBACK_US
        found[selector] = Reach(selector, int(looks.min()) - back, int(looks.max()))
    return list(found.values())


def selectors(node: Node) -> Iterator[Selector]:
    """Every selector in the expression."""
    if isinstance(node, Selector):
        yield node
    for child in children(node):
        yield from selectors(child)


def children(node: Node) -> tuple[Node, ...]:
    """The expressions right below a node."""
    if isinstance(node, Call):
        return node.args
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Aggregate):
        return (node.expr,) if node.param is None else (node.param, node.expr)
    return (node.expr,) if isinstance(node, Negate) else ()
