"""Text to an expression, or a line that says what is wrong with it."""

from __future__ import annotations

from gputel.errors import BadExpression
from gputel.promql.syntax.cursor import MOST_DEPTH as MOST_DEPTH  # for those who parse
from gputel.promql.syntax.grammar import Grammar
from gputel.promql.syntax.nodes import Node, Selector

MOST_CHARACTERS = 65_536
MOST_OPERATORS = 500
_SHORT_CHARACTERS = 1000


def parse(text: str) -> Node:
    """The expression that the text says. Raises BadExpression, saying what is wrong with it."""
    if len(text) > MOST_CHARACTERS:
        raise BadExpression(f"the expression is longer than {MOST_CHARACTERS} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadExpression("parse error: the expression is not UTF-8") from None
    grammar = Grammar(text)
    if grammar.signs > MOST_OPERATORS:
        raise BadExpression(f"the expression has more than {MOST_OPERATORS} operators and brackets")
    return grammar.whole()


def may_be_slow(text: str) -> bool:
    """Whether to parse this text in a thread: it is long, or may have regular expressions."""
    return len(text) > _SHORT_CHARACTERS or "~" in text or "label_replace" in text


def parse_selector(text: str) -> Selector:
    """A series selector, as ``match[]`` takes. Raises BadExpression for any other expression."""
    node = parse(text)
    if not isinstance(node, Selector) or node != Selector(node.matchers):
        raise BadExpression(f"{text!r} is not a series selector like up{{job='x'}}")
    return node
