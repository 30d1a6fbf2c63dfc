"""Checks of an expression whose syntax is right: types, names, patterns.

Source: ``checkAST`` of prometheus/promql/parser/parse.go, release 2.42. Each check gives the
line that says what is wrong, or None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gputel.errors import BadExpression
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Binary, Card, Matcher
from gputel.promql.syntax.signatures import Signature, Type
from gputel.promql.values.labels import NAME
from gputel.promql.values.operators import COMPARISON, SETS

MOST_PATTERN_CHARACTERS = 16_384
MOST_REPEATED = 65_536
"""Characters of a regular expression times the sum of its ``{n}``: its program grows with them."""

_REPETITION = re.compile(r"\{([0-9]{1,4}),?([0-9]{0,4})\}")
AGGREGATION_PARAMETERS = {
    "topk": Type.SCALAR,
    "bottomk": Type.SCALAR,
    "quantile": Type.SCALAR,
    "count_values": Type.STRING,
}
_OPERANDS = (Type.SCALAR, Type.VECTOR)


def binary(node: Binary, left: Type, right: Type) -> str | None:
    """Check an operator and the types of its sides."""
    op, matching = node.op, node.matching
    if node.return_bool and op not in COMPARISON:
        return "bool modifier can only be used on comparison operators"
    if left not in _OPERANDS or right not in _OPERANDS:
        return "binary expression must contain only scalar and instant vector types"
    if op in COMPARISON and not node.return_bool and left == right == Type.SCALAR:
        return "comparisons between scalars must use BOOL modifier"
    if matching.on and (both := set(matching.labels) & set(matching.include)):
        return f'label "{min(both)}" must not occur in ON and GROUP clause at once'
    if Type.SCALAR in (left, right):
        if matching.labels:
            return "vector matching only allowed between instant vectors"
        if op in SETS:
            return f'set operator "{op}" not allowed in binary scalar expression'
    elif op in SETS and matching.card is not Card.MANY_TO_MANY:
        return f'no grouping allowed for "{op}" operation'
    return None


def aggregate(op: str, arguments: Sequence[Type]) -> str | None:
    """Check an aggregation and the types of its arguments."""
    if not arguments:
        return "no arguments for aggregate expression provided"
    parameter = AGGREGATION_PARAMETERS.get(op)
    expected = [Type.VECTOR] if parameter is None else [parameter, Type.VECTOR]
    if len(arguments) != len(expected):
        return (
            "wrong number of arguments for aggregate expression provided, expected "
            f"{len(expected)}, got {len(arguments)}"
        )
    if arguments[-1] is not Type.VECTOR:
        return f"expected type instant vector in aggregation expression, got {arguments[-1]}"
    if arguments[0] is not expected[0]:
        return f"expected type {expected[0]} in aggregation parameter, got {arguments[0]}"
    return None


def call(name: str, signature: Signature, arguments: Sequence[Type]) -> str | None:
    """Check a function and the types of its arguments."""
    count, fewest, highest = len(arguments), signature.fewest, signature.highest
    if count < fewest or (highest is not None and count > highest):
        exact = "" if fewest == highest else "at least " if count < fewest else "at most "
        wanted = fewest if count < fewest else highest
        return f'expected {exact}{wanted} argument(s) in call to "{name}", got {count}'
    for place, given in enumerate(arguments):
        if given is not signature.type_of(place):
            wanted_type = signature.type_of(place)
            return f'expected type {wanted_type} in call to function "{name}", got {given}'
    return None


def selector(name: str, matchers: Sequence[Matcher]) -> str | None:
    """Check a selector; ``name`` is the name before the braces, or empty."""
    if name:
        again = next((each.value for each in matchers if each.name == NAME), None)
        if again is not None:
            return f'metric name must not be set twice: "{name}" or "{again}"'
        return None
    if all(matches(each, [""])[0] for each in matchers):
        return "vector selector must contain at least one non-empty matcher"
    return None


def matcher(condition: Matcher) -> None:
    """Raise BadExpression for a text that is too long, or a pattern that RE2 does not take."""
    if len(condition.value) > MOST_PATTERN_CHARACTERS:
        raise BadExpression(
            f"the matcher of {condition.name} is longer than {MOST_PATTERN_CHARACTERS} characters"
        )
    if condition.is_regex:
        pattern(condition.value, condition.name)
        matches(condition, [""])


def pattern(text: str, of: str) -> None:
    """Raise BadExpression for a pattern that becomes far larger once its ``{n}`` are written out.

    ``of`` is what the pattern belongs to.
    """
    times = sum(int(number) for pair in _REPETITION.findall(text) for number in pair if number)
    if len(text) > MOST_PATTERN_CHARACTERS or (times and times * len(text) > MOST_REPEATED):
        raise BadExpression(
            f"the regular expression of {of} is too large: it has more than "
            f"{MOST_PATTERN_CHARACTERS} characters, or its length times the sum of the numbers in "
            f"its {{n}}, which repeats too much, is over {MOST_REPEATED}"
        )
