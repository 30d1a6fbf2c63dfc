"""Text to tokens: names, keywords, numbers, spans, strings and signs.

Source: prometheus/promql/parser/lex.go, release 2.42.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from gputel.errors import BadExpression

AGGREGATORS = frozenset(
    {"sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk"}
    | {"count_values", "quantile"}
)
KEYWORDS = AGGREGATORS | {
    *("and", "or", "unless", "atan2", "offset", "by", "without", "on", "ignoring", "bool"),
    *("group_left", "group_right", "start", "end"),
}
_NUMBERS = frozenset({"inf", "nan"})


class TokenKind(StrEnum):
    """What a token is."""

    NAME = "identifier"
    METRIC = "metric identifier"  # a name with a colon
    KEYWORD = "keyword"
    NUMBER = "number"
    DURATION = "duration"
    STRING = "string"
    SIGN = "sign"
    END = "end of input"


class Token(NamedTuple):
    """A piece of the text, and where it begins."""

    kind: TokenKind
    text: str  # of keywords in small letters
    position: int

    def __str__(self) -> str:
        if self.kind is TokenKind.END:
            return str(self.kind)
        if self.kind is TokenKind.KEYWORD:
            return f"<{self.text}>"
        shown = f'"{self.text[:10]}"' + ("..." if len(self.text) > 10 else "")
        return shown if self.kind is TokenKind.SIGN else f"{self.kind} {shown}"


# Groups are atomic where the reference reads on without looking back.
_NUMBER = r"(?>0[xX][0-9a-fA-F]*(?:\.[0-9a-fA-F]*)?|[0-9]*(?:\.[0-9]*)?)(?>(?:[eE][+-]?[0-9]*)?)"
_STRING = r""""(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'|`[^`]*`"""
_SPACE = re.compile(r"(?:[ \t\r\n]+|\#[^\r\n]*)*")
_OUTSIDE = re.compile(
    rf"""(?P<NUMBER>(?=\.?[0-9]){_NUMBER}(?![0-9A-Za-z_]))
    |(?P<DURATION>(?=\.?[0-9]){_NUMBER}[smhdwy]s?(?:[0-9]+[smhdw]s?)*(?![0-9A-Za-z_]))
    |(?P<STRING>{_STRING})
    |(?P<NAME>[A-Za-z_:][A-Za-z0-9_:]*)
    |(?P<SIGN>==|!=|<=|>=|[-+*/%^<>=(){{}}\[\],@])""",
    re.VERBOSE,
)
_IN_BRACES = re.compile(
    rf"(?P<STRING>{_STRING})|(?P<NAME>[A-Za-z_][A-Za-z0-9_]*)|(?P<SIGN>=~|!~|!=|[=,}}])"
)
_IN_BRACKETS = re.compile(
    rf"(?P<DURATION>{_NUMBER}[smhdwy]s?(?:[0-9]+[smhdw]s?)*(?![0-9A-Za-z_]))|(?P<SIGN>[:\]])"
)


def tokens(text: str) -> list[Token]:
    """The tokens of the text, END as the last. Raises BadExpression for what is no token."""
    result: list[Token] = []
    pattern, position = _OUTSIDE, _spaces(text, 0)
    while position < len(text):
        match = pattern.match(text, position)
        if match is None or match.lastgroup is None:
            raise _no_token(text, position)
        token = _token(
            TokenKind[match.lastgroup], match[0], position, in_braces=pattern is _IN_BRACES
        )
        result.append(token)
        if token.kind is TokenKind.SIGN:
            pattern = {"{": _IN_BRACES, "[": _IN_BRACKETS}.get(
                token.text, _OUTSIDE if token.text in "}]" else pattern
            )
        position = _spaces(text, match.end())
    result.append(Token(TokenKind.END, "", len(text)))
    return result


def _spaces(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _token(kind: TokenKind, text: str, position: int, *, in_braces: bool) -> Token:
    if kind is not TokenKind.NAME or in_braces:
        return Token(kind, text, position)
    small = text.lower()
    if small in KEYWORDS:
        return Token(TokenKind.KEYWORD, small, position)
    if small in _NUMBERS:
        return Token(TokenKind.NUMBER, small, position)
    return Token(TokenKind.METRIC if ":" in text else TokenKind.NAME, text, position)


def _no_token(text: str, position: int) -> BadExpression:
    char = text[position]
    if char in "\"'`":
        what = "unterminated raw string" if char == "`" else "unterminated quoted string"
    elif char.isdigit() and char.isascii():
        what = f'bad number or duration syntax: "{text[position : position + 20]}"'
    else:
        what = f"unexpected character: {char!r}"
    return parse_error(text, position, what)


def parse_error(text: str, position: int, what: str) -> BadExpression:
    """What is wrong with the expression, with the line and column of the place."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return BadExpression(f"{line}:{column}: parse error: {what}")
