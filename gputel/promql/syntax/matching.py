"""Which label values a matcher takes.

Regular expressions run in RE2, which Arrow brings: the engine and the syntax that Prometheus uses,
and its time grows in a line with the text, whatever the pattern. A large pattern makes that line
steep, so some texts are searched at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gputel.errors import BadExpression
from gputel.promql.syntax.nodes import Matcher, MatchOp
from gputel.promql.values.vector import Bools

_WORK_AT_ONCE = 20_000_000  # characters of texts times those of the pattern


def matches(
    matcher: Matcher, values: Sequence[str], stopped: Callable[[], bool] = lambda: False
) -> Bools:
    """Which of the values it takes; empty text stands for a label that is not there.

    Raises BadExpression for a regular expression that RE2 does not take, and TimeoutError once
    ``stopped`` says that the answer is not wanted any more.
    """
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        same = np.fromiter((value == matcher.value for value in values), np.bool_, len(values))
        return same if matcher.op is MatchOp.EQUAL else ~same
    distinct = list(dict.fromkeys(values))
    by_value = dict(zip(distinct, _searched(matcher, distinct, stopped), strict=True))
    taken = np.fromiter((by_value[value] for value in values), np.bool_, len(values))
    return taken if matcher.op is MatchOp.RE else ~taken


def _searched(matcher: Matcher, values: list[str], stopped: Callable[[], bool]) -> list[bool]:
    answers: list[bool] = []
    for piece in pieces(values, matcher.value):
        if stopped():
            raise TimeoutError
        try:
            answer = pc.match_substring_regex(
                pa.array(piece, pa.string()), pattern=f"^(?:{matcher.value})$"
            )
        except pa.ArrowInvalid as error:
            raise BadExpression(f"the regular expression of {matcher}: {error}") from None
        answers += answer.to_pylist()
    return answers


def pieces(values: Sequence[str], pattern: str) -> Iterator[list[str]]:
    """Texts that are searched at a time; at least one piece, at least one text each."""
    most = _WORK_AT_ONCE // (1 + len(pattern))
    piece: list[str] = []
    size = 0
    for value in values:
        if piece and size + len(value) > most:
            yield piece
            piece, size = [], 0
        piece.append(value)
        size += len(value) + 16
    yield piece
