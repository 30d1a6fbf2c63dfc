"""An expression as the evaluator takes it: frozen, hashable, checked for types by the parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeGuard


class MatchOp(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    RE = "=~"
    NOT_RE = "!~"


@dataclass(frozen=True)
class Matcher:
    """One condition on a label; a label that a series has not counts as empty text."""

    name: str
    op: MatchOp
    value: str

    @property
    def is_regex(self) -> bool:
        """Whether its value is a regular expression."""
        return self.op in (MatchOp.RE, MatchOp.NOT_RE)

    def __str__(self) -> str:
        return f"{self.name}{self.op}{self.value!r}"


class Edge(StrEnum):
    """An end of the range that is asked for, as in ``@ start()``."""

    START = "start()"
    END = "end()"


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Text:
    """A string, as an argument or as the whole of an expression."""

    value: str


@dataclass(frozen=True)
class Selector:
    """Series: their newest sample at a step, or with ``range_us`` all samples of a window.

    ``name`` is the metric's name if it was written before the braces.
    """

    matchers: tuple[Matcher, ...]
    range_us: int | None = None
    offset_us: int = 0
    at: int | Edge | None = None  # Unix microseconds
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class Subquery:
    """The values of an expression at steps of its own, as the samples of a window."""

    expr: Node
    range_us: int
    step_us: int | None = None  # None: the default of the server
    offset_us: int = 0
    at: int | Edge | None = None  # Unix microseconds


@dataclass(frozen=True)
class Call:
    """A function of some arguments."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Aggregation:
    """Many series to one a group; ``param`` is the k of topk or the q of quantile."""

    op: str
    expr: Node
    param: Node | None
    without: bool
    labels: tuple[str, ...]


class Card(StrEnum):
    """How many series of each side belong together."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"  # and, or, unless


@dataclass(frozen=True)
class Matching:
    """Which series of two vectors belong together, and which labels come from the one side."""

    card: Card = Card.ONE_TO_ONE
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binary:
    """An operator between two expressions."""

    op: str
    left: Node
    right: Node
    return_bool: bool
    matching: Matching


@dataclass(frozen=True)
class Unary:
    """A plus or a minus before an expression."""

    op: str
    expr: Node


@dataclass(frozen=True)
class Paren:
    """An expression in parentheses, which mean nothing but are written again."""

    expr: Node


Node = Number | Text | Selector | Subquery | Call | Aggregation | Binary | Unary | Paren


def unwrapped(node: Node) -> Node:
    """The expression without parentheses around it."""
    while isinstance(node, Paren):
        node = node.expr
    return node


def is_range(node: Node) -> TypeGuard[Selector | Subquery]:
    """Whether the expression is a range vector."""
    return isinstance(node, Subquery) or (isinstance(node, Selector) and node.range_us is not None)


def left_spine(node: Binary) -> tuple[Node, list[Binary]]:
    """The leftmost operand, and the operators that follow it, in the order in which they apply.

    A chain of operators may be longer than calls may be deep.
    """
    spine: list[Binary] = []
    left: Node = node
    while isinstance(left, Binary):
        spine.append(left)
        left = left.left
    return left, spine[::-1]
