"""An expression as the evaluator takes it: frozen, hashable, checked for types by the parser."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    """Series: their newest sample at a step, or with ``range_us`` all samples of a window."""

    matchers: tuple[Matcher, ...]
    range_us: int | None = None
    offset_us: int = 0
    at: int | Edge | None = None  # Unix microseconds


@dataclass(frozen=True)
class Call:
    """A function of some arguments."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Aggregate:
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
class Negate:
    """A minus before an expression."""

    expr: Node


Node = Number | Text | Selector | Call | Aggregate | Binary | Negate
