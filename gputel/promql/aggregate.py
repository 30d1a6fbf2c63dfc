"""Aggregations: from all series of a group to one, or, for topk and bottomk, to some of them.

Source: ``aggregation`` of prometheus/promql/engine.go, release 2.42.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gputel.errors import ExpressionFailed
from gputel.promql.functions import quantile
from gputel.promql.syntax.nodes import Aggregation
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.labels import NAME, Labels, drop, keep
from gputel.promql.values.vector import Bools, Float64, Int64, Vector, empty
from gputel.promql.values.windows import blocks

_K_LIMIT = 2.0**63
_LARGEST = np.finfo(np.float64).max


def aggregated(
    node: Aggregation, vector: Vector, param: Float64 | None, bounds: EvaluationBounds
) -> Vector:
    """The aggregation of ``vector``; ``param`` has a number for each step.

    Steps do not depend on each other, so they are processed in blocks.
    """
    if node.op in ("topk", "bottomk"):
        assert param is not None
        _check_k(param)
    if not len(vector):
        return empty(vector.values.shape[1])
    group_labels, group = _groups(node, vector.labels)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(group_labels)))
    if node.op in ("topk", "bottomk"):
        assert param is not None
        return _extremes(vector, order, starts, param, bounds, largest=node.op == "topk")
    if node.op == "quantile":
        assert param is not None
        return Vector(group_labels, *_quantiles(vector, order, starts, param, bounds))
    shape = len(group_labels), vector.values.shape[1]
    out, there = np.empty(shape), np.empty(shape, np.bool_)
    for steps in blocks(shape[1], len(vector)):
        bounds.check()
        values, present = vector.values[:, steps][order], vector.present[:, steps][order]
        count = np.add.reduceat(present, starts, axis=0, dtype=np.int64)
        there[:, steps] = count > 0
        out[:, steps] = AGGREGATES[node.op](values, present, starts, count)
    return Vector(group_labels, out, there)


def _groups(node: Aggregation, labels: list[Labels]) -> tuple[list[Labels], Int64]:
    names = frozenset(node.labels) | ({NAME} if node.without else set())
    reduce = drop if node.without else keep
    known: dict[Labels, int] = {}
    group = [known.setdefault(reduce(each, names), len(known)) for each in labels]
    return list(known), np.array(group, np.int64)


Reduction = Callable[[Float64, Bools, Int64, Int64], Float64]


def _sum(values: Float64, present: Bools, starts: Int64, _count: Int64) -> Float64:
    total: Float64 = np.add.reduceat(np.where(present, values, 0.0), starts, axis=0)
    return total


def _avg(values: Float64, present: Bools, starts: Int64, count: Int64) -> Float64:
    mean = _sum(values, present, starts, count) / count
    finite = np.isfinite(mean) | (count == 0)
    return mean if finite.all() else np.where(finite, mean, _large(values, present, starts, count))


def _large(values: Float64, present: Bools, starts: Int64, count: Int64) -> Float64:
    """The average of values whose sum may be too large for a number."""
    sizes = np.diff(np.append(starts, len(values)))
    shares = np.where(present, values / (2.0 * np.repeat(count, sizes, axis=0)), 0.0)
    half = np.add.reduceat(shares, starts, axis=0)
    infinite = np.logical_or.reduceat(present & ~np.isfinite(values), starts, axis=0)
    return 2.0 * np.where(infinite, half, np.clip(half, -_LARGEST / 2, _LARGEST / 2))


def _least(values: Float64, present: Bools, starts: Int64, _count: Int64) -> Float64:
    least: Float64 = np.fmin.reduceat(np.where(present, values, np.nan), starts, axis=0)
    return least


def _most(values: Float64, present: Bools, starts: Int64, _count: Int64) -> Float64:
    most: Float64 = np.fmax.reduceat(np.where(present, values, np.nan), starts, axis=0)
    return most


def _stdvar(values: Float64, present: Bools, starts: Int64, count: Int64) -> Float64:
    """The variance of distances from each group's first value: 0 if all values are equal."""
    sizes = np.diff(np.append(starts, len(values)))
    place = np.where(present, np.arange(len(values))[:, None], len(values) - 1)
    first = np.take_along_axis(values, np.minimum.reduceat(place, starts, axis=0), axis=0)
    apart = values - np.repeat(first, sizes, axis=0)
    mean = _sum(apart, present, starts, count) / count
    apart = apart - np.repeat(mean, sizes, axis=0)
    variance = _sum(apart * apart, present, starts, count) / count
    return np.where(count == 1, 0.0, variance)  # also of one NaN


AGGREGATES: dict[str, Reduction] = {
    "sum": _sum,
    "avg": _avg,
    "min": _least,
    "max": _most,
    "count": lambda _values, _present, _starts, count: count.astype(np.float64),
    "group": lambda _values, _present, _starts, count: np.ones(count.shape),
    "stdvar": _stdvar,
    "stddev": lambda *given: np.sqrt(_stdvar(*given)),
}
"""Aggregations without parameter, over rows sorted by group; groups begin at ``starts``."""


def _quantiles(
    vector: Vector, order: Int64, starts: Int64, wanted: Float64, bounds: EvaluationBounds
) -> tuple[Float64, Bools]:
    shape = len(starts), len(wanted)
    out, there = np.empty(shape), np.empty(shape, np.bool_)
    for group, members in enumerate(np.split(order, starts[1:])):
        for steps in blocks(shape[1], len(members)):
            bounds.check()
            values, present = vector.values[members, steps], vector.present[members, steps]
            out[group, steps] = quantile.of_rows(values.T, present.T, wanted[steps])
            there[group, steps] = present.any(axis=0)
    return out, there


def _extremes(
    vector: Vector,
    order: Int64,
    starts: Int64,
    param: Float64,
    bounds: EvaluationBounds,
    *,
    largest: bool,
) -> Vector:
    """The k largest or smallest of each group at each step; rows ranked at the last step."""
    k = np.trunc(param)
    rows: list[Int64] = []
    chosen = np.zeros_like(vector.present)
    for members in np.split(order, starts[1:]):
        for steps in blocks(chosen.shape[1], len(members)):
            bounds.check()
            present = vector.present[members, steps]
            ranks = _ranks(vector.values[members, steps], present, largest=largest)
            chosen[members, steps] = (ranks < k[steps]) & present
        rows.append(members[np.argsort(ranks[:, -1], kind="stable")])
    row = np.concatenate(rows)
    row = row[chosen[row].any(axis=1)]
    return Vector([vector.labels[place] for place in row], vector.values[row], chosen[row])


def _check_k(param: Float64) -> None:
    wrong = np.isnan(param) | (np.abs(param) >= _K_LIMIT)
    if wrong.any():
        raise ExpressionFailed(f"Scalar value {param[wrong][0]:g} overflows int64")


def _ranks(values: Float64, present: Bools, *, largest: bool) -> Int64:
    """The rank of each row at each step: NaN after all numbers, absent values last."""
    last = np.where(present, np.isnan(values), 2)
    order = np.lexsort((-values if largest else values, last), axis=0)
    ranks = np.empty(order.shape, np.int64)
    np.put_along_axis(ranks, order, np.arange(len(order))[:, None], axis=0)
    return ranks
