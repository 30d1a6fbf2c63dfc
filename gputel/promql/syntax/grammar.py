"""Tokens to an expression, by precedence; each part is checked for types when it is whole.

Source: prometheus/promql/parser/generated_parser.y, release 2.42.
"""

from __future__ import annotations

from dataclasses import replace

from gputel.promql.syntax import checks
from gputel.promql.syntax.cursor import MOST_DEPTH, PRECEDENCE, TIGHTEST
from gputel.promql.syntax.go_text import parse_number
from gputel.promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Card,
    Matching,
    Node,
    Number,
    Paren,
    Text,
    Unary,
)
from gputel.promql.syntax.selecting import Selecting, TypedNode
from gputel.promql.syntax.signatures import SIGNATURES, Type
from gputel.promql.syntax.tokens import AGGREGATORS, TokenKind
from gputel.promql.values.operators import SETS

_NOT_METRICS = frozenset({"atan2", "bool", "on", "ignoring", "group_left", "group_right"})


class Grammar(Selecting):
    """Reads one expression."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def whole(self) -> Node:
        """The whole text as an expression."""
        if self.peek().kind is TokenKind.END:
            self.fail("no expression found in input")
        part = self._expression(0)
        if self.peek().kind is not TokenKind.END:
            self.unexpected()
        return part.node

    def _expression(self, least: int) -> TypedNode:
        """An expression of operators that bind at least as tight as ``least``."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            self.fail(f"the expression is nested over {MOST_DEPTH} deep: split it")
        left = self._prefixed()
        while (precedence := self._operator()) and precedence >= least:
            left = self._binary(left, precedence)
        self._depth -= 1
        return left

    def _operator(self) -> int:
        token = self.peek()
        known = token.kind in (TokenKind.SIGN, TokenKind.KEYWORD)
        return PRECEDENCE.get(token.text, 0) if known else 0

    def _prefixed(self) -> TypedNode:
        start = self.peek().position
        if not self.at("+", "-"):
            return self.modified(self._primary())
        op = self.take().text
        part = self._expression(TIGHTEST)
        if isinstance(part.node, Number):
            value = -part.node.value if op == "-" else part.node.value
            return TypedNode(Number(value), Type.SCALAR, start)
        if part.type not in (Type.SCALAR, Type.VECTOR):
            self.fail(
                "unary expression only allowed on expressions of type scalar or instant vector, "
                f'got "{part.type}"',
                start,
            )
        return TypedNode(Unary(op, part.node), part.type, start)

    def _binary(self, left: TypedNode, precedence: int) -> TypedNode:
        operator = self.take()
        return_bool = self.accept("bool")
        matching = self._matching()
        right = self._expression(precedence + (operator.text != "^"))
        if operator.text in SETS and matching.card is Card.ONE_TO_ONE:
            matching = replace(matching, card=Card.MANY_TO_MANY)
        types = left.type, right.type
        vectors = types == (Type.VECTOR, Type.VECTOR)
        node = Binary(operator.text, left.node, right.node, return_bool, matching)
        if wrong := checks.binary(node, *types):
            self.fail(wrong, operator.position)
        if not vectors:
            node = replace(node, matching=Matching())
        scalars = types == (Type.SCALAR, Type.SCALAR)
        return TypedNode(node, Type.SCALAR if scalars else Type.VECTOR, left.start)

    def _matching(self) -> Matching:
        if not self.at("on", "ignoring"):
            return Matching()
        on = self.take().text == "on"
        labels = self.names()
        if not self.at("group_left", "group_right"):
            return Matching(on=on, labels=labels)
        card = Card.MANY_TO_ONE if self.take().text == "group_left" else Card.ONE_TO_MANY
        include = self.names() if self.at("(") else ()
        return Matching(card, on, labels, include)

    def _primary(self) -> TypedNode:
        token = self.peek()
        if token.kind is TokenKind.NUMBER:
            self.take()
            value = self.or_fail(token.position, lambda: parse_number(token.text))
            return TypedNode(Number(value), Type.SCALAR, token.position)
        if token.kind is TokenKind.STRING:
            return TypedNode(Text(self.string()), Type.STRING, token.position)
        if self.accept("("):
            part = self._expression(0)
            self.expect(")", "parentheses")
            return TypedNode(Paren(part.node), part.type, token.position)
        if self.at("{"):
            return self.selector("", token.position)
        return self._named()

    def _named(self) -> TypedNode:
        token, after = self.peek(), self.following
        keyword = token.kind is TokenKind.KEYWORD
        if keyword and token.text in AGGREGATORS and after.text in ("(", "by", "without"):
            return self._aggregate()
        if token.kind is TokenKind.NAME and after.text == "(":
            return self._call()
        is_name = token.kind in (TokenKind.NAME, TokenKind.METRIC) or keyword
        if not is_name or (keyword and token.text in _NOT_METRICS):
            self.unexpected()
        return self.selector(self.name(), token.position)

    def _aggregate(self) -> TypedNode:
        op = self.take()
        without, labels = self._grouping()
        before = labels is not None
        args = self._arguments()
        if not before:
            without, labels = self._grouping()
        wanted = checks.AGGREGATION_PARAMETERS.get(op.text)
        if wrong := checks.aggregate(op.text, [part.type for part in args]):
            self.fail(wrong, op.position)
        param = args[0].node if wanted else None
        node = Aggregation(op.text, args[-1].node, param, without, labels or ())
        return TypedNode(node, Type.VECTOR, op.position)

    def _grouping(self) -> tuple[bool, tuple[str, ...] | None]:
        if not self.at("by", "without"):
            return False, None
        return self.take().text == "without", self.names()

    def _call(self) -> TypedNode:
        name = self.take()
        signature = SIGNATURES.get(name.text)
        if signature is None:
            self.fail(f'unknown function with name "{name.text[:100]}"', name.position)
        args = self._arguments()
        if name.text == "label_replace":
            self.count_pattern()
        if wrong := checks.call(name.text, signature, [part.type for part in args]):
            self.fail(wrong, name.position)
        node = Call(name.text, tuple(part.node for part in args))
        return TypedNode(node, signature.gives, name.position)

    def _arguments(self) -> list[TypedNode]:
        self.expect("(", "arguments")
        found: list[TypedNode] = []
        while not self.accept(")"):
            found.append(self._expression(0))
            if self.accept(","):
                if self.at(")"):
                    self.fail("trailing commas not allowed in function call args")
            elif not self.at(")"):
                self.unexpected("arguments", '"," or ")"')
        return found
