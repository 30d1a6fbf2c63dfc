from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel.model.columns import STALE_BITS
from gputel.model.meanings import MEANINGS
from gputel.store.blocks.samples import Samples
from gputel.store.read.endings import READING_US
from gputel.store.read.meanings import NEVER, MeantSeries, of_meaning

POWER = MEANINGS["gputel:gpu_power_watts"]
ENERGY = MEANINGS["gputel:gpu_energy_joules_total"]
UTIL = MEANINGS["gputel:gpu_utilization_percent"]
NEW, CLASSIC = POWER.scales
RATIO, PERCENT = UTIL.scales
STALE = float(np.array([STALE_BITS], np.int64).view(np.float64)[0])

SECONDS = st.lists(st.integers(0, 40), unique=True, max_size=12).map(sorted)
Points = Mapping[int, float]


def meant(
    names: Sequence[str], one: Sequence[int] = (), exporter: Sequence[int] = ()
) -> MeantSeries:
    count = len(names)
    return MeantSeries(
        np.arange(count),
        names,
        np.array(one or range(count), np.int64),
        np.array(exporter or [0] * count, np.int64),
        np.full(count, NEVER[0]),
        np.full(count, NEVER[1]),
    )


def samples(*points: Points) -> Samples:
    """The samples of series 0, 1, ..., by second."""
    rows = [(row, second, value) for row, of in enumerate(points) for second, value in of.items()]
    ids, seconds, _ = zip(*rows, strict=True) if rows else ((), (), ())
    values = np.array([value for _, _, value in rows], np.float64)
    for place, (_, _, value) in enumerate(rows):
        if value is STALE:
            values.view(np.int64)[place] = STALE_BITS
    return Samples(np.array(ids, np.int64), np.array(seconds, np.int64) * 1_000_000, values)


def seconds_of(found: Samples) -> list[int]:
    return (found.ts // 1_000_000).tolist()


def stale_seconds(found: Samples) -> list[int]:
    return seconds_of(found.take(found.value.view(np.int64) == STALE_BITS))


@given(SECONDS, SECONDS)
def test_one_name_alone_keeps_all_samples(first: list[int], second: list[int]) -> None:
    given_samples = samples(
        {each: each + 0.5 for each in first} | {50: STALE}, dict.fromkeys(second, 7.0)
    )
    found, unknown = of_meaning(POWER, meant([CLASSIC, CLASSIC]), given_samples)
    for column in ("series_id", "ts"):
        assert (getattr(found, column) == getattr(given_samples, column)).all()
    assert (found.value.view(np.int64) == given_samples.value.view(np.int64)).all()
    assert not unknown


@given(SECONDS, SECONDS)
def test_classic_sample_counts_where_no_new_one_is_of_its_reading(
    classic: list[int], new: list[int]
) -> None:
    found, _ = of_meaning(
        POWER,
        meant([CLASSIC, NEW], one=[1, 1]),
        samples(dict.fromkeys(classic, 1.0), dict.fromkeys(new, 2.0)),
    )
    gaps = [later - each for of in (classic, new) for each, later in itertools.pairwise(of)]
    reading_s = max(min(gaps, default=0) / 2, READING_US / 1e6)
    kept = [each for each in classic if all(abs(each - other) > reading_s for other in new)]
    assert seconds_of(found) == sorted(new + kept)
    assert seconds_of(found.take(found.value == 2.0)) == new
    assert set(found.series_id.tolist()) <= {1}


def test_end_of_a_name_counts_only_where_the_other_does_not_go_on() -> None:
    series = meant([CLASSIC, NEW], one=[1, 1])
    replaced, _ = of_meaning(
        POWER, series, samples({0: 1.0, 10: 1.0, 20: STALE}, {20: 2.0, 30: 2.0})
    )
    assert (seconds_of(replaced), stale_seconds(replaced)) == ([0, 10, 20, 30], [])
    late, _ = of_meaning(POWER, series, samples({0: 1.0, 10: 1.0, 20: STALE}, {40: 2.0, 50: 2.0}))
    assert stale_seconds(late) == [20]
    rolled_back, _ = of_meaning(
        POWER, series, samples({20: 1.0, 30: 1.0}, {0: 2.0, 10: 2.0, 20: STALE})
    )
    assert (seconds_of(rolled_back), stale_seconds(rolled_back)) == ([0, 10, 20, 30], [])


def test_values_are_in_the_unit_of_the_meaning() -> None:
    new, classic = ENERGY.scales
    found, _ = of_meaning(
        ENERGY, meant([classic, new], one=[1, 1]), samples({0: 1_234_567.0}, {60: 1300.0})
    )
    assert found.value.tolist() == [1234.567, 1300.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.25, 1.0], [25.0, 100.0]),
        ([37.0, 1.0], [37.0, 1.0]),
        ([0.0, 1.0], [0.0]),
        ([1.0, 1.0], []),
        ([0.25, 37.0, 1.0], [25.0, 37.0]),
    ],
)
def test_unit_of_a_doubtful_name_comes_from_what_its_exporter_sends(
    values: list[float], expected: list[float]
) -> None:
    of_gpus = [{0: value} for value in values]
    found, unknown = of_meaning(UTIL, meant([RATIO] * len(values)), samples(*of_gpus))
    assert found.value.tolist() == expected
    left_out = len(values) - len(expected)
    assert unknown == ({RATIO: left_out} if left_out else {})


@given(st.lists(st.integers(0, 100), min_size=1), st.booleans())
def test_decided_percentages_are_those_that_the_gpu_has(truth: list[int], is_ratio: bool) -> None:
    sent = [each / 100 if is_ratio else float(each) for each in truth]
    series = meant([RATIO, PERCENT], exporter=[0, 1])
    found, unknown = of_meaning(
        UTIL, series, samples(dict(enumerate(sent)), dict(enumerate(map(float, truth))))
    )
    mine = found.take(found.series_id == 0)
    decided = dict(zip(seconds_of(mine), mine.value.tolist(), strict=True))
    assert {second: truth[second] for second in decided} == pytest.approx(decided)
    assert len(decided) + unknown.get(RATIO, 0) == len(truth)
    assert (found.series_id == 1).sum() == len(truth)


def test_other_names_of_the_exporter_may_prove_a_ratio() -> None:
    series = meant([RATIO, RATIO])
    sent = samples({0: 37.0, 1: 1.0, 2: 1.0, 3: 1.0}, {1: 1.0, 2: 1.0, 3: 0.5})
    series.ratio_from[:] = sent.ts[2]
    series.ratio_to[:] = sent.ts[3]
    found, unknown = of_meaning(UTIL, series, sent)
    assert found.value.tolist() == [37.0, 1.0, 100.0, 100.0, 1.0, 100.0, 50.0]
    assert unknown == {}
