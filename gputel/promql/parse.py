"""Text to an expression, by promql-parser; what the subset has not is refused here, by name.

The parser is not shown regular expressions: it would compile them, which takes seconds for some,
and lets no other thread run meanwhile. RE2, which searches by them, says which ones are none. Parse
in a thread what may have any.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import promql_parser as parser

from gputel.errors import BadExpression
from gputel.promql.aggregate import AGGREGATES
from gputel.promql.evaluate import FUNCTIONS
from gputel.promql.matching import matches
from gputel.promql.nodes import (
    Aggregate,
    Binary,
    Call,
    Card,
    Edge,
    Matcher,
    Matching,
    MatchOp,
    Negate,
    Node,
    Number,
    Selector,
    Text,
)
from gputel.promql.operators import ARITHMETIC, COMPARISON, SETS
from gputel.promql.reach import children, with_selectors

MOST_CHARACTERS = 65_536
MOST_OPERATORS = 500
"""In one expression: the parser's time and stack grow with them."""

MOST_DEPTH = 100
"""How deep operators, functions and aggregations may be nested: the evaluator's stack grows with
it."""

MOST_PATTERNS = 32
"""Regular expressions in one expression."""

MOST_PATTERN_CHARACTERS = 16_384
MOST_REPEATED = 65_536
"""Characters of a regular expression times the sum of its ``{n}``: its program grows with them."""

# Each alternative takes what it began to the end, closed or not: so no text is read twice.
_QUOTED = re.compile(
    r""""(?:[^"\\]|\\.)*+(?:"|\Z)|'(?:[^'\\]|\\.)*+(?:'|\Z)|`[^`]*+(?:`|\Z)|#[^\n]*+""", re.DOTALL
)
_NESTING = re.compile(r"[(\[{]|[-+*/%^]|[<>=!]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_SHORT_CHARACTERS = 1000
_REPETITION = re.compile(r"\{([0-9]{1,4}),?([0-9]{0,4})\}")
_WITH_PARAMETER = frozenset({"topk", "bottomk", "quantile"})
_MICROSECOND = timedelta(microseconds=1)
# The parser's enums can be compared, but not hashed.
_OPS = (
    (parser.MatchOp.Equal, MatchOp.EQUAL),
    (parser.MatchOp.NotEqual, MatchOp.NOT_EQUAL),
    (parser.MatchOp.Re, MatchOp.RE),
    (parser.MatchOp.NotRe, MatchOp.NOT_RE),
)
_CARDS = (
    (parser.VectorMatchCardinality.OneToOne, Card.ONE_TO_ONE),
    (parser.VectorMatchCardinality.ManyToOne, Card.MANY_TO_ONE),
    (parser.VectorMatchCardinality.OneToMany, Card.ONE_TO_MANY),
    (parser.VectorMatchCardinality.ManyToMany, Card.MANY_TO_MANY),
)


def parse(text: str) -> Node:
    """The expression that the text says. Raises BadExpression, saying what is wrong with it."""
    _check_size(text)
    shown, quoted = _without_patterns(text)
    try:
        node = _node(parser.parse(shown))
        patterns = [_text(each) for each in quoted]
    except ValueError as error:  # of the parser, which UnicodeEncodeError is as well
        raise BadExpression(f"parse error: {error}") from None
    except OverflowError:
        raise BadExpression("parse error: a time in it is out of range") from None
    except RecursionError:
        raise _too_deep() from None
    _check_depth(node)
    return with_selectors(node, lambda selector: _with_patterns(selector, patterns))


def parse_selector(text: str) -> Selector:
    """A series selector, as ``match[]`` takes. Raises BadExpression for any other expression."""
    node = parse(text)
    if not isinstance(node, Selector) or node != Selector(node.matchers):
        raise BadExpression(f"{text!r} is not a series selector like up{{job='x'}}")
    return node


def may_be_slow(text: str) -> bool:
    """Whether to parse this text in a thread: it is long, or has regular expressions."""
    return len(text) > _SHORT_CHARACTERS or "~" in text


def _check_size(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise BadExpression(f"the expression is longer than {MOST_CHARACTERS} characters")
    if len(_NESTING.findall(_QUOTED.sub("", text))) > MOST_OPERATORS:
        raise BadExpression(f"the expression has more than {MOST_OPERATORS} operators and brackets")


def _without_patterns(text: str) -> tuple[str, list[str]]:
    """The text with a number in place of each regular expression, and these, quoted."""
    patterns: list[str] = []
    out: list[str] = []
    before, last = "", 0
    for quoted in _QUOTED.finditer(text):
        between = text[last : quoted.start()]
        before, last = between.rstrip() or before, quoted.end()
        out.append(between)
        if quoted[0].startswith("#"):
            out.append(" ")
            continue
        if before.endswith(("=~", "!~")):
            # Like most patterns, "0" does not take empty text, and "0|" does: neither keeps the
            # parser from taking a selector that has no other matcher.
            out.append(f'"{len(patterns)}{"|" if before.endswith("!~") else ""}"')
            patterns.append(quoted[0])
        else:
            out.append(quoted[0])
        before = ""
    if len(patterns) > MOST_PATTERNS:
        raise BadExpression(f"the expression has more than {MOST_PATTERNS} regular expressions")
    return "".join([*out, text[last:]]), patterns


def _text(quoted: str) -> str:
    if len(quoted) > 1 and quoted[0] == quoted[-1] == "`":  # the parser sees escapes in it
        return quoted[1:-1]
    literal: Any = parser.parse(quoted)
    text: str = literal.val
    return text


def _with_patterns(selector: Selector, patterns: list[str]) -> Selector:
    """The selector with its regular expressions. Raises BadExpression for one that is none."""
    found = []
    for matcher in selector.matchers:
        if matcher.is_regex:
            matcher = replace(matcher, value=patterns[int(matcher.value.rstrip("|"))])
            _check_pattern(matcher)
        found.append(matcher)
    takes_nothing = [bool(matches(matcher, [""])[0]) for matcher in found]  # checks each pattern
    if all(takes_nothing):
        raise BadExpression(
            "parse error: vector selector must contain at least one non-empty matcher"
        )
    return replace(selector, matchers=tuple(found))


def _check_depth(node: Node) -> None:
    level: list[Node] = [node]
    for _ in range(MOST_DEPTH):
        level = [below for each in level for below in children(each)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> BadExpression:
    return BadExpression(
        f"the expression is nested over {MOST_DEPTH} deep, operators one behind the other "
        "included: split it, or use brackets to pair its operands"
    )


def _node(expr: Any) -> Node:
    if isinstance(expr, parser.ParenExpr):
        return _node(expr.expr)
    if isinstance(expr, parser.NumberLiteral):
        return Number(expr.val)
    if isinstance(expr, parser.StringLiteral):
        return Text(expr.val)
    if isinstance(expr, parser.VectorSelector):
        return _selector(expr, None)
    if isinstance(expr, parser.MatrixSelector):
        return _selector(expr.vector_selector, expr.range)
    if isinstance(expr, parser.UnaryExpr):
        return Negate(_node(expr.expr))
    if isinstance(expr, parser.Call):
        return _call(expr)
    if isinstance(expr, parser.AggregateExpr):
        return _aggregate(expr)
    if isinstance(expr, parser.BinaryExpr):
        return _binary(expr)
    raise _unsupported("subqueries, like x[1h:1m],")


def _unsupported(what: str) -> BadExpression:
    return BadExpression(f"{what} are outside the subset of PromQL that gputel answers")


def _call(expr: parser.Call) -> Call:
    if expr.func.name not in FUNCTIONS:
        raise BadExpression(
            f"the function {expr.func.name} is outside the subset of PromQL that gputel answers: "
            + ", ".join(sorted(FUNCTIONS))
        )
    return Call(expr.func.name, tuple(_node(each) for each in expr.args))


def _aggregate(expr: parser.AggregateExpr) -> Aggregate:
    op, modifier = str(expr.op), expr.modifier
    if op not in AGGREGATES and op not in _WITH_PARAMETER:
        raise BadExpression(
            f"the aggregation {op} is outside the subset of PromQL that gputel answers: "
            + ", ".join(sorted({*AGGREGATES, *_WITH_PARAMETER}))
        )
    without = modifier is not None and modifier.type == parser.AggModifierType.Without
    param = None if expr.param is None else _node(expr.param)
    labels = () if modifier is None else tuple(modifier.labels)
    return Aggregate(op, _node(expr.expr), param, without, labels)


def _binary(expr: parser.BinaryExpr) -> Binary:
    op, modifier = str(expr.op), expr.modifier
    if op not in ARITHMETIC and op not in COMPARISON and op not in SETS:
        raise _unsupported(f"operators like {op}")
    left, right = _node(expr.lhs), _node(expr.rhs)
    if modifier is None:
        card = Card.MANY_TO_MANY if op in SETS else Card.ONE_TO_ONE
        return Binary(op, left, right, False, Matching(card))
    fill = modifier.fill_values
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise _unsupported("fill modifiers")
    matching = modifier.matching
    return Binary(
        op,
        left,
        right,
        bool(modifier.return_bool),
        Matching(
            next(ours for theirs, ours in _CARDS if theirs == modifier.card),
            matching is not None and matching.type == parser.LabelModifierType.Include,
            () if matching is None else tuple(matching.labels),
            tuple(modifier.group_labels or ()),
        ),
    )


def _selector(expr: parser.VectorSelector, range_: timedelta | None) -> Selector:
    if expr.matchers.or_matchers:
        raise _unsupported("alternatives of matchers, like {a='1' or b='2'},")
    matchers = [Matcher("__name__", MatchOp.EQUAL, expr.name)] if expr.name else []
    matchers += [_matcher(each) for each in expr.matchers.matchers]
    return Selector(
        tuple(matchers),
        None if range_ is None else range_ // _MICROSECOND,
        0 if expr.offset is None else expr.offset // _MICROSECOND,
        _at(expr),
    )


def _matcher(given: parser.Matcher) -> Matcher:
    return Matcher(
        given.name, next(ours for theirs, ours in _OPS if theirs == given.op), given.value
    )


def _check_pattern(matcher: Matcher) -> None:
    """Refuse a pattern that is too large, or becomes so once its ``{n}`` are written out."""
    if len(matcher.value) > MOST_PATTERN_CHARACTERS:
        raise BadExpression(
            f"the matcher of {matcher.name} is longer than {MOST_PATTERN_CHARACTERS} characters"
        )
    pairs = _REPETITION.findall(matcher.value)
    times = sum(int(number) for pair in pairs for number in pair if number)
    if times and times * len(matcher.value) > MOST_REPEATED:
        raise BadExpression(
            f"the regular expression of {matcher.name} repeats too much: its length times the sum "
            f"of the numbers in its {{n}} is over {MOST_REPEATED}"
        )


def _at(expr: parser.VectorSelector) -> int | Edge | None:
    at = expr.at
    if at is None:
        return None
    if at.type == parser.AtModifierType.Start:
        return Edge.START
    if at.type == parser.AtModifierType.End:
        return Edge.END
    # The parser panics where a time before 1970 is read, and prints it as 0.
    if "@ 0.000" in str(expr):
        return 0
    assert at.at is not None
    return round(at.at.timestamp() * 1e6)
