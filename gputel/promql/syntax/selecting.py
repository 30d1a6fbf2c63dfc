"""Selectors of an expression, and the ranges, offsets and times that follow what they belong to.

Source: prometheus/promql/parser/generated_parser.y, release 2.42.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple, NoReturn

from gputel.promql.syntax import checks
from gputel.promql.syntax.cursor import MOST_PATTERNS, TokenReader
from gputel.promql.syntax.nodes import Matcher, MatchOp, Node, Selector, Subquery
from gputel.promql.syntax.signatures import Type
from gputel.promql.syntax.tokens import TokenKind
from gputel.promql.values.labels import NAME


class TypedNode(NamedTuple):
    """An expression, what it is worth, and where it begins."""

    node: Node
    type: Type
    start: int


class Selecting(TokenReader):
    """Reads selectors."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._patterns = 0

    def selector(self, name: str, start: int) -> TypedNode:
        """The selector of this name, or of none, with the matchers that come next."""
        matchers = self._matchers() if self.at("{") else []
        if wrong := checks.selector(name, matchers):
            self.fail(wrong, start)
        if name:
            matchers.insert(0, Matcher(NAME, MatchOp.EQUAL, name))
        return TypedNode(Selector(tuple(matchers), name=name), Type.VECTOR, start)

    def _matchers(self) -> list[Matcher]:
        self.take()
        found: list[Matcher] = []
        while not self.accept("}"):
            if self.peek().kind is not TokenKind.NAME:
                self.unexpected("label matching", 'identifier or "}"')
            name = self.take()
            if not self.at("=", "!=", "=~", "!~"):
                self.unexpected("label matching", "label matching operator")
            op = MatchOp(self.take().text)
            if self.peek().kind is not TokenKind.STRING:
                self.unexpected("label matching", "string")
            matcher = Matcher(name.text, op, self.string())
            if matcher.is_regex:
                self.count_pattern()
            self.or_fail(name.position, partial(checks.matcher, matcher))
            found.append(matcher)
            if not self.at("}") and not self.accept(","):
                self.unexpected("label matching", '"," or "}"')
        return found

    def count_pattern(self) -> None:
        """One more regular expression. Refuse the expression if these are too many."""
        self._patterns += 1
        if self._patterns > MOST_PATTERNS:
            self.fail(f"the expression has more than {MOST_PATTERNS} regular expressions")

    def modified(self, part: TypedNode) -> TypedNode:
        """The expression with the ranges, the offset and the @ that follow it."""
        while self.at("[", "offset", "@"):
            if self.accept("["):
                part = self._ranged(part)
            elif self.accept("offset"):
                part = self._offset(part)
            else:
                self.take()
                part = self._at(part)
        return part

    def _ranged(self, part: TypedNode) -> TypedNode:
        position = self.peek().position
        range_us = self.duration("subquery selector")
        if self.accept(":"):
            step = None if self.at("]") else self.duration("subquery selector")
            self.expect("]", "subquery selector")
            if part.type is not Type.VECTOR:
                self.fail(
                    f"subquery is only allowed on instant vector, got {part.type} instead",
                    part.start,
                )
            return TypedNode(Subquery(part.node, range_us, step), Type.MATRIX, part.start)
        if not self.accept("]"):
            self.unexpected("subquery or range", '":" or "]"')
        node = part.node
        if not isinstance(node, Selector) or node.range_us is not None:
            self.fail("ranges only allowed for vector selectors", position)
        if node.offset_us or node.at is not None:
            modifier = "offset" if node.offset_us else "@"
            self.fail(f"no {modifier} modifiers allowed before range", position)
        return TypedNode(replace(node, range_us=range_us), Type.MATRIX, part.start)

    def _offset(self, part: TypedNode) -> TypedNode:
        sign = -1 if self.accept("-") else 1
        offset = sign * self.duration("offset")
        node = part.node
        if not isinstance(node, Selector | Subquery):
            self._misplaced("offset modifier", part)
        if node.offset_us:
            self.fail("offset may not be set multiple times", part.start)
        return TypedNode(replace(node, offset_us=offset), part.type, part.start)

    def _misplaced(self, modifier: str, part: TypedNode) -> NoReturn:
        self.fail(
            f"{modifier} must be preceded by an instant vector selector or range vector selector "
            "or a subquery",
            part.start,
        )

    def _at(self, part: TypedNode) -> TypedNode:
        at = self.moment(part.start)
        node = part.node
        if not isinstance(node, Selector | Subquery):
            self._misplaced("@ modifier", part)
        if node.at is not None:
            self.fail("@ <timestamp> may not be set multiple times", part.start)
        return TypedNode(replace(node, at=at), part.type, part.start)
