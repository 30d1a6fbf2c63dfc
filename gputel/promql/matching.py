"""Which label values a matcher takes.

Regular expressions run in RE2, which Arrow brings: the engine and the syntax that Prometheus uses,
and its time grows in a line with the text, whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gputel.errors import BadExpression
from gputel.promql.nodes import Matcher, MatchOp
from gputel.promql.vector import Bools


def matches(matcher: Matcher, values: Sequence[str]) -> Bools:
    """Which of the values it takes; empty text stands for a label that is not there.

    Raises BadExpression for a regular expression that RE2 does not take.
    """
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        same = np.fromiter((value == matcher.value for value in values), np.bool_, len(values))
        return same if matcher.op is MatchOp.EQUAL else ~same
    distinct = list(dict.fromkeys(values))
    found = dict(zip(distinct, _searched(matcher, distinct), strict=True))
    taken = np.fromiter((found[value] for value in values), np.bool_, len(values))
    return taken if matcher.op is MatchOp.RE else ~taken


def _searched(matcher: Matcher, values: list[str]) -> list[bool]:
    try:
        answer = pc.match_substring_regex(
            pa.array(values, pa.string()), pattern=f"^(?:{matcher.value})$"
        )
    except pa.ArrowInvalid as error:
        raise BadExpression(f"the regular expression of {matcher}: {error}") from None
    found: list[bool] = answer.to_pylist()
    return found
