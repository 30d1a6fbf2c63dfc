"""An expression as text again, in Prometheus' layout.

Source: prometheus/promql/parser/printer.go and prettier.go, release 2.42.
"""

from __future__ import annotations

from gputel.promql.syntax.checks import AGGREGATION_PARAMETERS
from gputel.promql.syntax.go_text import format_float, quoted
from gputel.promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Card,
    Edge,
    MatchOp,
    Node,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    left_spine,
)
from gputel.promql.values.labels import NAME
from gputel.times import format_duration

_MOST_CHARACTERS = 100  # in a line; a longer expression is split
_INDENT = "  "


def pretty(node: Node, level: int = 0) -> str:
    """The expression, split over lines where it is long."""
    indent = _INDENT * level
    if isinstance(node, Binary):
        return _pretty_binary(node, level)
    if isinstance(node, Unary):
        return f"{indent}{node.op}{pretty(node.expr, level).strip()}"
    flat = text(node)
    if isinstance(node, Subquery):
        # Its own lines have the indent, a short one has none.
        long = len(flat) > _MOST_CHARACTERS
        return pretty(node.expr, level) + _suffix(node) if long else flat
    if len(flat) <= _MOST_CHARACTERS or isinstance(node, Selector | Number | Text):
        return indent + flat
    if isinstance(node, Paren):
        return f"{indent}(\n{pretty(node.expr, level + 1)}\n{indent})"
    if isinstance(node, Call):
        name, inside = node.name, list(node.args)
    else:
        name = _operation(node)
        inside = [node.expr] if node.param is None else [node.param, node.expr]
    lines = ",\n".join(pretty(each, level + 1) for each in inside)
    return f"{indent}{name}(\n{lines}\n{indent})"


def _pretty_binary(node: Binary, level: int) -> str:
    first, spine = left_spine(node)
    # The innermost operators stand deepest. Those that fit into a line stay on it.
    flat, split = text(first), 0
    for each in spine:
        longer = f"{flat} {_operator(each)} {text(each.right)}"
        if len(longer) > _MOST_CHARACTERS:
            break
        flat, split = longer, split + 1
    depth = level + len(spine) - split
    whole = _INDENT * depth + flat if split else pretty(first, depth)
    for number, each in enumerate(spine[split:], start=1):
        indent = _INDENT * (depth - number)
        right = pretty(each.right, depth - number + 1)
        whole = f"{whole}\n{indent}{_operator(each)}\n{right}"
    return whole


def text(node: Node) -> str:
    """The expression on one line."""
    if isinstance(node, Binary):
        first, spine = left_spine(node)
        rest = (f" {_operator(each)} {text(each.right)}" for each in spine)
        return text(first) + "".join(rest)
    if isinstance(node, Number):
        return format_float(node.value)
    if isinstance(node, Text):
        return quoted(node.value)
    if isinstance(node, Selector):
        span = "" if node.range_us is None else f"[{format_duration(node.range_us)}]"
        return _series(node) + span + _when(node)
    if isinstance(node, Subquery):
        return text(node.expr) + _suffix(node)
    if isinstance(node, Call):
        return f"{node.name}({', '.join(map(text, node.args))})"
    if isinstance(node, Aggregation):
        param = f"{text(node.param)}, " if node.op in AGGREGATION_PARAMETERS and node.param else ""
        return f"{_operation(node)}({param}{text(node.expr)})"
    return f"({text(node.expr)})" if isinstance(node, Paren) else f"{node.op}{text(node.expr)}"


def _operation(node: Aggregation) -> str:
    names = ", ".join(node.labels)
    if node.without:
        return f"{node.op} without ({names}) "
    return f"{node.op} by ({names}) " if names else node.op


def _operator(node: Binary) -> str:
    matching = node.matching
    text = f"{node.op} bool" if node.return_bool else node.op
    if matching.labels or matching.on:
        text += f" {'on' if matching.on else 'ignoring'} ({', '.join(matching.labels)})"
        if matching.card in (Card.MANY_TO_ONE, Card.ONE_TO_MANY):
            side = "left" if matching.card is Card.MANY_TO_ONE else "right"
            text += f" group_{side} ({', '.join(matching.include)})"
    return text


def _series(node: Selector) -> str:
    shown = sorted(
        f"{each.name}{each.op}{quoted(each.value)}"
        for each in node.matchers
        if (each.name, each.op, each.value) != (NAME, MatchOp.EQUAL, node.name)
    )
    return f"{node.name}{{{','.join(shown)}}}" if shown else node.name


def _suffix(node: Subquery) -> str:
    step = "" if node.step_us is None else format_duration(node.step_us)
    return f"[{format_duration(node.range_us)}:{step}]{_when(node)}"


def _when(node: Selector | Subquery) -> str:
    at = ""
    if node.at is not None:
        at = f" @ {node.at}" if isinstance(node.at, Edge) else f" @ {node.at / 1e6:.3f}"
    if not node.offset_us:
        return at
    sign = "-" if node.offset_us < 0 else ""
    return f"{at} offset {sign}{format_duration(abs(node.offset_us))}"
