"""histogram_quantile, of classic histograms: series of buckets, each with its bound in ``le``.

Source: ``bucketQuantile`` of prometheus/promql/quantile.go, release 2.42.
"""

from __future__ import annotations

import numpy as np

from gputel.promql.syntax.go_text import parse_float
from gputel.promql.values.bounds import Check
from gputel.promql.values.labels import NAME, Labels, drop
from gputel.promql.values.vector import Bools, Float64, Vector, empty, merged

_BOUND = "le"


def histogram_quantile(quantile: Float64, vector: Vector, check: Check) -> Vector:
    """A quantile of each histogram, with its own ``quantile`` at each step.

    Series without a bound are left out.
    """
    groups: dict[Labels, list[tuple[float, int]]] = {}
    for row, labels in enumerate(vector.labels):
        bound = _bound(labels)
        if bound is not None:
            groups.setdefault(drop(labels, (_BOUND,)), []).append((bound, row))
    if not groups:
        return empty(vector.values.shape[1])
    values, present = [], []
    for members in groups.values():
        check()
        members.sort()
        rows = [row for _, row in members]
        bounds = np.array([bound for bound, _ in members])
        there = vector.present[rows]
        values.append(_quantile(quantile, bounds, vector.values[rows], there))
        present.append(there.any(axis=0))
    named = [drop(each, (NAME,)) for each in groups]
    return merged(Vector(named, np.array(values), np.array(present)))


def _bound(labels: Labels) -> float | None:
    try:
        return parse_float(dict(labels).get(_BOUND, ""))
    except ValueError:
        return None


def _quantile(quantile: Float64, bounds: Float64, counts: Float64, there: Bools) -> Float64:
    """The quantile from buckets by steps, in order of bounds; a bucket may lack at a step."""
    bounds, counts, there = _coalesced(bounds, counts, there)
    # A bucket that is missing or has fallen counts as many as the one below it.
    counts = np.where(there, counts, -np.inf)
    counts = np.where(np.isnan(counts), counts, np.fmax.accumulate(counts, axis=0))
    steps = np.arange(counts.shape[1])
    total = counts[-1]
    number = there.sum(axis=0)
    rank = quantile * total
    reached = there & (counts >= rank)
    reached[-1] = True  # the last bucket holds the rank in any case
    bucket = reached.argmax(axis=0)
    index = np.where(there, np.arange(len(bounds))[:, None], -1)
    below = np.maximum.accumulate(np.vstack([np.full_like(index[:1], -1), index]), axis=0)
    before = below[bucket, steps]  # the bucket below, if there is one
    first = before < 0
    start = np.where(first, 0.0, bounds[before])
    passed = np.where(first, 0.0, counts[before, steps])
    inside = (rank - passed) / (counts[bucket, steps] - passed)
    value = start + (bounds[bucket] - start) * inside
    value = np.where(first & (bounds[bucket] <= 0), bounds[bucket], value)
    value = np.where(bucket == len(bounds) - 1, bounds[before], value)
    none = (number < 2) | ~there[-1] | (bounds[-1] != np.inf) | (total == 0)
    value = np.where(none, np.nan, value)
    value = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, value))
    return np.where(np.isnan(quantile), np.nan, value)


def _coalesced(bounds: Float64, counts: Float64, there: Bools) -> tuple[Float64, Float64, Bools]:
    """Add up the buckets that have the same bound."""
    starts = np.flatnonzero(np.append(True, bounds[1:] != bounds[:-1]))
    if len(starts) == len(bounds):
        return bounds, counts, there
    summed = np.add.reduceat(np.where(there, counts, 0.0), starts, axis=0)
    return bounds[starts], summed, np.logical_or.reduceat(there, starts, axis=0)
