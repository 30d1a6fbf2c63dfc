"""Reads the tokens of an expression one by one, and small pieces such as names and spans."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NoReturn, TypeVar

from gputel.errors import BadExpression
from gputel.promql.syntax.go_text import parse_number, unquoted
from gputel.promql.syntax.nodes import Edge
from gputel.promql.syntax.tokens import Token, TokenKind, parse_error, tokens
from gputel.times import parse_duration

MOST_DEPTH = 100
"""How deep an expression may be nested: the stacks of parser and evaluator grow with it."""

MOST_PATTERNS = 32
"""Regular expressions in one expression: to compile one may take a while."""

TIGHTEST = 6
PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": TIGHTEST,
}  # fmt: skip
"""How tight each operator binds."""

_FURTHEST_S = 2.0**61 / 1e6
_MOST_TIME = 2.0**63
T = TypeVar("T")


class TokenReader:
    """Reads the tokens of a text. Every method that reads raises BadExpression for an error."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._place = 0

    @property
    def signs(self) -> int:
        """How many operators and brackets the text has."""
        return sum(
            token.text in PRECEDENCE or token.text in ("(", "[", "{")
            for token in self._tokens
            if token.kind in (TokenKind.SIGN, TokenKind.KEYWORD)
        )

    def fail(self, what: str, position: int | None = None) -> NoReturn:
        """Refuse the expression."""
        raise parse_error(self._text, self.peek().position if position is None else position, what)

    def unexpected(self, context: str = "", expected: str = "") -> NoReturn:
        """Refuse the token that comes next."""
        where = f" in {context}" if context else ""
        self.fail(f"unexpected {self.peek()}{where}{f', expected {expected}' if expected else ''}")

    def peek(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._place]

    @property
    def following(self) -> Token:
        """The token after the next."""
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The token that comes next; go past it."""
        token = self._tokens[self._place]
        self._place += 1
        return token

    def at(self, *texts: str) -> bool:
        """Whether a sign or keyword of these comes next."""
        token = self.peek()
        return token.kind in (TokenKind.SIGN, TokenKind.KEYWORD) and token.text in texts

    def accept(self, *texts: str) -> bool:
        """Go past a sign or keyword of these, if it comes next."""
        is_next = self.at(*texts)
        self._place += is_next
        return is_next

    def expect(self, text: str, context: str) -> None:
        """Go past this sign, which must come next."""
        if not self.accept(text):
            self.unexpected(context, f'"{text}"')

    def or_fail(self, position: int, make: Callable[[], T]) -> T:
        """The result of ``make``. Its ValueError becomes a BadExpression at the position."""
        try:
            return make()
        except (ValueError, BadExpression) as error:
            self.fail(str(error), position)

    def names(self) -> tuple[str, ...]:
        """Names of labels in parentheses."""
        self.expect("(", "grouping opts")
        found: list[str] = []
        while not self.accept(")"):
            if self.peek().kind not in (TokenKind.NAME, TokenKind.KEYWORD):
                self.unexpected("grouping opts", "label")
            found.append(self.name())
            if not self.at(")") and not self.accept(","):
                self.unexpected("grouping opts", '"," or ")"')
        return tuple(found)

    def name(self) -> str:
        """The name as it is written: a keyword may be in capitals."""
        token = self.take()
        return self._text[token.position : token.position + len(token.text)]

    def string(self) -> str:
        """The text of the string that comes next."""
        token = self.take()
        return self.or_fail(token.position, lambda: unquoted(token.text))

    def duration(self, context: str) -> int:
        """Microseconds of the span that must come next."""
        token = self.peek()
        if token.kind is not TokenKind.DURATION:
            self.unexpected(context, "duration")
        self.take()
        found = self.or_fail(token.position, lambda: parse_duration(token.text))
        if not found:
            self.fail("duration must be greater than 0", token.position)
        return found

    def moment(self, position: int) -> int | Edge:
        """The time behind an @, in Unix microseconds."""
        if self.at("start", "end"):
            edge = Edge(f"{self.take().text}()")
            self.expect("(", "@")
            self.expect(")", "@")
            return edge
        sign = -1 if self.accept("-") else 1
        if sign == 1:
            self.accept("+")
        token = self.peek()
        if token.kind is not TokenKind.NUMBER:
            self.unexpected("@", "timestamp")
        self.take()
        seconds = sign * self.or_fail(token.position, lambda: parse_number(token.text))
        if not abs(seconds) < _MOST_TIME:
            self.fail(f"timestamp out of bounds for @ modifier: {seconds:g}", position)
        # Beyond the furthest time there are no samples either.
        seconds = min(max(seconds, -_FURTHEST_S), _FURTHEST_S)
        return math.floor(abs(seconds) * 1000 + 0.5) * (1000 if seconds >= 0 else -1000)
