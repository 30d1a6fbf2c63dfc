"""Operators between scalars and vectors, and between vectors, series matched by their labels.

Source: ``VectorBinop`` of prometheus/promql/engine.go, release 2.42.
"""

from __future__ import annotations

import numpy as np

from gputel.errors import ExpressionFailed
from gputel.promql.syntax.nodes import Binary, Card, Matching
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.labels import NAME, Labels, drop, keep, shown, without_name
from gputel.promql.values.operators import DROPS_NAME, SETS, compute
from gputel.promql.values.vector import Bools, Float64, Int64, Scalar, Vector, empty, merged

_MANY_TO_ONE = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
)


def combined(
    node: Binary, left: Scalar | Vector, right: Scalar | Vector, bounds: EvaluationBounds
) -> Scalar | Vector:
    """The value of a binary operation. Raises ExpressionFailed if the sides do not match."""
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        values, _ = compute(node.op, left.values, right.values, return_bool=True, kept=left.values)
        return Scalar(values)
    if isinstance(left, Vector) and isinstance(right, Vector):
        if node.op in SETS:
            return _set(node, left, right)
        return _matched(node, left, right, bounds)
    return _with_scalar(node, left, right)


def _with_scalar(node: Binary, left: Scalar | Vector, right: Scalar | Vector) -> Vector:
    vector = left if isinstance(left, Vector) else right
    assert isinstance(vector, Vector)
    values, holds = compute(
        node.op,
        np.broadcast_to(left.values, vector.values.shape),
        np.broadcast_to(right.values, vector.values.shape),
        return_bool=node.return_bool,
        kept=vector.values,
    )
    if holds is not None:
        return Vector(vector.labels, values, vector.present & holds)
    if node.op in DROPS_NAME or node.return_bool:
        return vector.mapped(without_name, values)
    return Vector(vector.labels, values, vector.present)


def _matched(node: Binary, left: Vector, right: Vector, bounds: EvaluationBounds) -> Vector:
    """Each series of the "many" side with the series of the same signature on the other."""
    matching = node.matching
    swap = matching.card is Card.ONE_TO_MANY
    many, one = (right, left) if swap else (left, right)
    # If one side has no series, the other side is not checked: it may have any series.
    one = Vector(one.labels, one.values, one.present & many.present.any(axis=0))
    group, one_row = _one_side(matching, one, "left" if swap else "right")
    row = np.array([group.get(_signature(matching, each), -1) for each in many.labels], np.int64)
    many = many.rows(row >= 0)
    row = row[row >= 0]
    if not len(many):
        return empty(left.values.shape[1])
    ones = Vector([], one_row.values[row], one_row.present[row])
    sides = (ones, many) if swap else (many, ones)
    values, holds = compute(
        node.op,
        sides[0].values,
        sides[1].values,
        return_bool=node.return_bool,
        kept=sides[0].values,
    )
    present = many.present & ones.present
    if holds is not None:
        present = present & holds
    if matching.card is Card.ONE_TO_ONE:
        _refuse_many(row, present)
    labels = _result_labels(node, many, one, row, group)
    if labels is None:
        return _by_step(node, Vector(many.labels, values, present), one, bounds)
    return _unique(labels, values, present, matching)


def _one_side(matching: Matching, one: Vector, side: str) -> tuple[dict[Labels, int], Vector]:
    """The "one" side with one row for each signature; at a step it may have one series each."""
    group: dict[Labels, int] = {}
    row = [group.setdefault(_signature(matching, each), len(group)) for each in one.labels]
    if len(group) == len(one):
        return group, one
    try:
        return group, merged(Vector([(("", str(each)),) for each in row], one.values, one.present))
    except ExpressionFailed:
        raise ExpressionFailed(_duplicates(one, np.array(row), list(group), side)) from None


def _duplicates(one: Vector, row: Int64, signatures: list[Labels], side: str) -> str:
    for number, signature in enumerate(signatures):
        members = np.flatnonzero(row == number)
        if (one.present[members].sum(axis=0) > 1).any():
            named = ", ".join(shown(one.labels[member]) for member in members[:2])
            return (
                f"found duplicate series for the match group {shown(signature)} on the {side} "
                f"hand-side of the operation: [{named}];many-to-many matching not allowed: "
                "matching labels must be unique on one side"
            )
    raise AssertionError("no series are there at the same step")


def _signature(matching: Matching, labels: Labels) -> Labels:
    if matching.on:
        return keep(labels, matching.labels)
    return drop(labels, (NAME, *matching.labels))


def _result_labels(
    node: Binary, many: Vector, one: Vector, row: Int64, group: dict[Labels, int]
) -> list[Labels] | None:
    """The labels of each result; None where those from the "one" side differ between steps."""
    matching = node.matching
    if not matching.include:
        return [_own_labels(node, each) for each in many.labels]
    if len(group) != len(one):
        return None
    return [
        _with_included(_own_labels(node, each), one.labels[place], matching.include)
        for each, place in zip(many.labels, row.tolist(), strict=True)
    ]


def _own_labels(node: Binary, labels: Labels) -> Labels:
    matching = node.matching
    if node.op in DROPS_NAME or node.return_bool:
        labels = without_name(labels)
    if matching.card is Card.ONE_TO_ONE:
        select = keep if matching.on else drop
        labels = select(labels, matching.labels)
    return labels


def _with_included(labels: Labels, source: Labels, names: tuple[str, ...]) -> Labels:
    return tuple(sorted(drop(labels, names) + keep(source, names)))


def _by_step(node: Binary, many: Vector, one: Vector, bounds: EvaluationBounds) -> Vector:
    """As ``_matched``, if several series of the "one" side alternate: one result for each."""
    matching = node.matching
    by_signature: dict[Labels, list[int]] = {}
    for place in np.flatnonzero(one.present.any(axis=1)).tolist():
        by_signature.setdefault(_signature(matching, one.labels[place]), []).append(place)
    turns = [by_signature.get(_signature(matching, each), []) for each in many.labels]
    bounds.admit(sum(map(len, turns)), many.values.shape[1])
    labels, places, masks = [], [], []
    for number, (each, ones) in enumerate(zip(many.labels, turns, strict=True)):
        bounds.check()
        for place in ones:
            source = one.labels[place]
            labels.append(_with_included(_own_labels(node, each), source, matching.include))
            places.append(number)
            masks.append(many.present[number] & one.present[place])
    if not labels:
        return empty(many.values.shape[1])
    return _unique(labels, many.values[places], np.array(masks), matching)


def _refuse_many(signature: Int64, present: Bools) -> None:
    """Raise ExpressionFailed if two results of one signature are there at the same step."""
    if len(np.unique(signature)) == len(signature):
        return
    there: dict[int, Bools] = {}
    for row, each in enumerate(signature.tolist()):
        before = there.get(each)
        if before is not None and (before & present[row]).any():
            raise ExpressionFailed(_MANY_TO_ONE)
        there[each] = present[row] if before is None else before | present[row]


def _unique(labels: list[Labels], values: Float64, present: Bools, matching: Matching) -> Vector:
    try:
        return merged(Vector(labels, values, present))
    except ExpressionFailed:
        raise ExpressionFailed(
            _MANY_TO_ONE
            if matching.card is Card.ONE_TO_ONE
            else "multiple matches for labels: grouping labels must ensure unique matches"
        ) from None


def _set(node: Binary, left: Vector, right: Vector) -> Vector:
    """and, or, unless: a side's series, at the steps that the other side's series select."""
    number: dict[Labels, int] = {}
    sides = [
        np.array(
            [number.setdefault(_signature(node.matching, each), len(number)) for each in side],
            np.int64,
        )
        for side in (left.labels, right.labels)
    ]
    if node.op == "or":
        there = _any_of(sides[0], left.present, len(number))
        rest = right.present & ~there[sides[1]]
        return merged(
            Vector(
                left.labels + right.labels,
                np.concatenate([left.values, right.values]),
                np.concatenate([left.present, rest]),
            )
        )
    there = _any_of(sides[1], right.present, len(number))[sides[0]]
    kept = left.present & (there if node.op == "and" else ~there)
    return Vector(left.labels, left.values, kept)


def _any_of(group: Int64, present: Bools, groups: int) -> Bools:
    there = np.zeros((groups, present.shape[1]), np.bool_)
    np.logical_or.at(there, group, present)
    return there
