"""Samples for the evaluator, and its answers in a form to compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gputel.promql.evaluate import evaluate
from gputel.promql.reach import reaches, resolved
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.parse import parse
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.labels import Labels, from_mapping
from gputel.promql.values.samples import collect
from gputel.promql.values.vector import Scalar, String, Vector

SECOND = 1_000_000
Points = Sequence[tuple[float, float]]


def series(data: Mapping[str, Points], *, reach=None):
    """The series of ``name{label=value,...}`` texts with (second, value) points that match."""
    labels, bounds, ts, values = [], [0], [], []
    for text, points in data.items():
        name, _, inside = text.rstrip("}").partition("{")
        pairs = dict(pair.split("=") for pair in inside.split(",") if pair)
        each = {"__name__": name, **pairs}
        if reach and not all(
            matches(matcher, [each.get(matcher.name, "")])[0] for matcher in reach.selector.matchers
        ):
            continue
        for second, value in points:
            us = round(second * SECOND)
            if reach is None or reach.first_us <= us <= reach.last_us:
                ts.append(us)
                values.append(value)
        labels.append(from_mapping(each))
        bounds.append(len(ts))
    return collect(labels, np.array(bounds, int), np.array(ts, np.int64), np.array(values, float))


def ask(text: str, data: Mapping[str, Points], *seconds: float, check=lambda: None, bounds=None):
    """The value at these seconds: {labels: {second: value}}, or a list of numbers, or text."""
    steps = np.array([round(second * SECOND) for second in seconds], np.int64)
    node = resolved(parse(text), int(steps[0]), int(steps[-1]))
    samples = {reach.selector: series(data, reach=reach) for reach in reaches(node, steps)}
    value = evaluate(node, steps, samples, bounds or EvaluationBounds(check))
    if isinstance(value, String):
        return value.value
    if isinstance(value, Scalar):
        return value.values.tolist()
    assert isinstance(value, Vector)
    found = {}
    for labels, values, present in zip(value.labels, value.values, value.present, strict=True):
        name = dict(labels).get("__name__", "")
        inside = ",".join(f"{key}={text}" for key, text in labels if key != "__name__")
        points = zip(seconds, values.tolist(), present.tolist(), strict=True)
        found[f"{name}{{{inside}}}"] = {at: number for at, number, there in points if there}
    return found


def evaluated(
    text: str, data: Mapping[Labels, Sequence[tuple[int, float]]], moments: Sequence[int]
):
    """The value at these moments, of series with (microsecond, value) points."""
    steps = np.array(moments, np.int64)
    node = resolved(parse(text), moments[0], moments[-1])
    samples = {}
    for reach in reaches(node, steps):
        labels, bounds, points = [], [0], []
        for each, all_points in data.items():
            known = dict(each)
            if all(matches(m, [known.get(m.name, "")])[0] for m in reach.selector.matchers):
                points += [p for p in all_points if reach.first_us <= p[0] <= reach.last_us]
                labels.append(each)
                bounds.append(len(points))
        ts, values = np.array([p[0] for p in points], np.int64), np.array([p[1] for p in points])
        samples[reach.selector] = collect(labels, np.array(bounds), ts, values.astype(float))
    return evaluate(node, steps, samples, EvaluationBounds(lambda: None))


def every(step: float, count: int, value=float) -> list[tuple[float, float]]:
    """``count`` points from second 0 on, ``step`` apart."""
    return [(step * place, float(value(place))) for place in range(count)]


def same(left: float, right: float) -> bool:
    return (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=1e-12)
