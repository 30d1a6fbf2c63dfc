"""Folding samples into buckets, and where the answer for a range is taken from."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from gputel.store.blocks.samples import Samples
from gputel.store.rollup.buckets import (
    COLUMNS,
    HOUR_US,
    MINUTE_US,
    Buckets,
    fold,
    from_samples,
    join,
    units,
)
from gputel.store.rollup.plan import Span, SpanSource, plan

VALUES = [0.0, -0.0, 1.5, -3.0, 1e300, 0.1, math.nan, math.inf, -math.inf]


def samples(rng: random.Random, count: int, span_us: int) -> Samples:
    ts = [rng.randrange(-span_us, span_us) // 1_000_000 * 1_000_000 for _ in range(count)]
    ids = [rng.randrange(1, 4) for _ in range(count)]
    values = [rng.choice([*VALUES, rng.random()]) for _ in range(count)]
    return Samples(np.array(ids), np.array(ts), np.array(values))


def same(one: Buckets, other: Buckets) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name not in COLUMNS[:2])
        for name in COLUMNS
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_way_to_a_step_does_not_show_in_the_answer(seed: int) -> None:
    rng = random.Random(seed)
    found = samples(rng, rng.randint(1, 400), 6 * HOUR_US)
    minutes = fold(from_samples(found), MINUTE_US)
    hours = fold(minutes, HOUR_US)
    halves = found.ts < 0
    cut = [fold(from_samples(found.take(half)), MINUTE_US) for half in (halves, ~halves)]
    for step_us in (MINUTE_US, 5 * MINUTE_US, HOUR_US, 3 * HOUR_US):
        buckets = minutes
        for unit in units(step_us):
            buckets = fold(buckets, unit)
        again = join(cut)
        for unit in units(step_us):
            again = fold(again, unit)
        assert same(buckets, again)
        if step_us % HOUR_US == 0:
            assert same(buckets, fold(hours, step_us))
        assert buckets.count.sum() == len(found)


@pytest.mark.parametrize("seed", range(10))
def test_buckets_are_those_of_a_loop_over_samples(seed: int) -> None:
    rng = random.Random(seed)
    found = samples(rng, 300, 10 * MINUTE_US)
    expected: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for series_id, ts, value in zip(*map(np.ndarray.tolist, vars(found).values()), strict=True):
        expected.setdefault((series_id, ts // MINUTE_US), []).append((ts, value))
    buckets = fold(from_samples(found), MINUTE_US)
    assert list(zip(buckets.series_id, buckets.start_us // MINUTE_US, strict=True)) == sorted(
        expected
    )
    for place, key in enumerate(sorted(expected)):
        values = [value for _, value in expected[key]]
        numbers = [value for value in values if not math.isnan(value)] or [math.nan]
        newest = max(ts for ts, _ in expected[key])
        at_newest = [value for ts, value in expected[key] if ts == newest]
        listed_first = min(at_newest, key=lambda value: (math.isnan(value), value))
        with np.errstate(invalid="ignore"):
            total = np.sum(values)
        for name, right in (
            ("min", min(numbers)),
            ("max", max(numbers)),
            ("last", listed_first),
            ("count", len(values)),
        ):
            np.testing.assert_equal(getattr(buckets, name)[place] + 0.0, right + 0.0, name)
        np.testing.assert_allclose(buckets.sum[place], total, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("seed", range(50))
def test_a_plan_covers_the_range_once_and_no_stale_hour_by_rollups(seed: int) -> None:
    rng = random.Random(seed)
    start_us = rng.randrange(-5 * HOUR_US, 5 * HOUR_US)
    end_us = start_us + rng.choice([1, MINUTE_US // 2, 3 * MINUTE_US, HOUR_US, 60 * HOUR_US])
    stale = sorted(rng.sample([n * HOUR_US for n in range(-6, 70)], rng.randint(0, 12)))
    step_us = rng.choice([10_000_000, MINUTE_US, 5 * MINUTE_US, HOUR_US, 24 * HOUR_US])
    spans = plan(start_us, end_us, step_us, stale)
    assert [spans[0].start_us, *(span.end_us for span in spans)] == [
        *(span.start_us for span in spans),
        end_us,
    ]
    assert spans[0].start_us == start_us
    for span in spans:
        assert span.start_us < span.end_us
        if span.source is SpanSource.SAMPLES:
            assert span.start_us // (24 * HOUR_US) == (span.end_us - 1) // (24 * HOUR_US)
            continue
        assert step_us % span.source.value == 0
        assert span.start_us % span.source.value == span.end_us % span.source.value == 0
        assert not any(h < span.end_us and span.start_us < h + HOUR_US for h in stale)


def test_the_ends_of_a_range_are_taken_from_finer_sources() -> None:
    minute, hour = MINUTE_US, HOUR_US
    assert plan(hour - 90_000_000, 5 * hour + 1, hour, [3 * hour]) == [
        Span(SpanSource.SAMPLES, hour - 90_000_000, hour - minute),
        Span(SpanSource.MINUTES, hour - minute, hour),
        Span(SpanSource.HOURS, hour, 3 * hour),
        Span(SpanSource.SAMPLES, 3 * hour, 4 * hour),
        Span(SpanSource.HOURS, 4 * hour, 5 * hour),
        Span(SpanSource.SAMPLES, 5 * hour, 5 * hour + 1),
    ]
