"""label_replace and label_join: other labels for the same samples.

Source: prometheus/promql/functions.go, release 2.42. Patterns run in RE2, as those of matchers do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gputel.errors import ExpressionFailed
from gputel.promql.syntax import checks
from gputel.promql.syntax.matching import pieces
from gputel.promql.values.bounds import Check
from gputel.promql.values.labels import Labels, from_mapping
from gputel.promql.values.vector import Vector

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_GROUP = re.compile(
    r"\\Q.*?(?:\\E|$)|\\."  # quoted, escaped
    r"|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]?"  # a class
    r"|\(\?P?<(\w+)>|\((?!\?)",  # a group, with a name or without
    re.DOTALL,
)
_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


def label_replace(
    vector: Vector, check: Check, to: str, template: str, source: str, pattern: str
) -> Vector:
    """``to`` becomes ``template``, with ``$1`` for groups, if the whole of ``source`` matches."""
    values = [dict(labels).get(source, "") for labels in vector.labels]
    distinct = list(dict.fromkeys(values))
    expanded = _expanded(distinct, template, pattern, check)
    replaced = dict(zip(distinct, expanded, strict=True))
    if not _NAME.fullmatch(to):
        raise ExpressionFailed(f"invalid destination label name in label_replace(): {to}")
    new: dict[Labels, Labels] = {}
    for labels, value in zip(vector.labels, values, strict=True):
        text = replaced[value]
        new[labels] = labels if text is None else from_mapping({**dict(labels), to: text})
    return vector.mapped(new.__getitem__, vector.values)


def label_join(vector: Vector, to: str, separator: str, *sources: str) -> Vector:
    """``to`` becomes the values of the source labels, with the separator in between."""
    for kind, name in (*(("source", source) for source in sources), ("destination", to)):
        if not _NAME.fullmatch(name):
            raise ExpressionFailed(f"invalid {kind} label name in label_join(): {name}")

    def joined(labels: Labels) -> Labels:
        known = dict(labels)
        text = separator.join(known.get(source, "") for source in sources)
        return from_mapping({**known, to: text})

    return vector.mapped(joined, vector.values)


def _expanded(values: Sequence[str], template: str, pattern: str, check: Check) -> list[str | None]:
    """The template filled in from each value; None for a value that does not match."""
    checks.pattern(pattern, "label_replace()")
    # Arrow gives groups by name, so each gets one: the number that Go gives it.
    names: list[str] = []

    def named(match: re.Match[str]) -> str:
        if match[0][0] != "(":
            return match[0]
        names.append(match[1] or "")
        return f"(?P<g{len(names)}>"

    whole = f"^(?P<g0>{_GROUP.sub(named, pattern)})$"
    try:
        # Checked as it was written, too: names that are there twice are refused.
        pc.match_substring_regex(pa.array([], pa.string()), pattern=f"^(?:{pattern})$")
        found: list[dict[str, str] | None] = []
        for piece in pieces(values, pattern):
            check()
            found += pc.extract_regex(pa.array(piece, pa.string()), pattern=whole).to_pylist()
    except pa.ArrowInvalid:
        raise ExpressionFailed(
            f"invalid regular expression in label_replace(): {pattern}"
        ) from None
    return [None if groups is None else _filled(template, groups, names) for groups in found]


def _filled(template: str, groups: dict[str, str], names: Sequence[str]) -> str:
    def content(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        if name.isdigit():
            return groups.get(f"g{int(name)}", "") if len(name) < 10 else ""
        return groups[f"g{names.index(name) + 1}"] if name in names else ""

    return _REFERENCE.sub(content, template)
