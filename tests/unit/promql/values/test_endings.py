"""A series ends where another one of its lane begins, and only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gputel.promql.values.endings import only, with_endings
from gputel.promql.values.labels import Labels
from gputel.promql.values.samples import SeriesSamples
from gputel.store.read.endings import READING_US

Times = Mapping[str, Sequence[float]]


def samples_at(times: Times) -> SeriesSamples:
    """Series by name, with samples at these seconds."""
    counts = [len(each) for each in times.values()]
    ts = np.array([round(1e6 * at) for each in times.values() for at in each], np.int64)
    labels: list[Labels] = [(("pod", name),) for name in times]
    return SeriesSamples(labels, np.append(0, np.cumsum(counts)), ts, np.ones(len(ts)))


def ends(times: Times, lanes: str = "") -> dict[str, list[float]]:
    """The seconds at which each series ends; ``lanes`` has a letter each, by default one lane."""
    found = with_endings(samples_at(times), lanes or "x" * len(times), READING_US)
    assert np.all(found.values[~found.stale] == 1)
    assert len(found.ts) == len(samples_at(times).ts) + found.stale.sum()
    ended = {}
    for number, name in enumerate(times):
        part = found.part(number, number + 1)
        assert np.all(np.diff(part.ts) > 0)
        if part.stale.any():
            ended[name] = (part.ts[part.stale] / 1e6).tolist()
    return ended


def test_a_series_ends_at_the_first_sample_of_the_one_that_takes_its_place() -> None:
    assert ends({"": [0, 15, 30], "train": [45, 60, 75]}) == {"": [45]}
    assert ends({"": [0], "train": [240]}) == {"": [240]}, "also without a second sample of either"


def test_one_that_comes_back_ends_the_other_and_may_end_again() -> None:
    assert ends({"": [0, 15, 60, 75], "job": [30, 45, 90]}) == {"": [30, 90], "job": [60]}
    assert ends({"": [0, 30, 60], "job": [15, 45]}) == {"": [15, 45], "job": [30, 60]}, "flickers"


def test_series_side_by_side_do_not_end_each_other() -> None:
    beat = [0, 15, 30, 45]
    assert ends({"a": beat, "b": beat, "c": beat}) == {}
    assert ends({"a": beat, "b": [at + 0.4 for at in beat]}) == {}, (
        "of one reading, not one instant"
    )
    assert ends({"a": beat, "b": [15, 30, 45]}) == {}, "another one that joins"
    assert ends({"a": beat, "b": [0, 15]}) == {}, "one that leaves without another in its place"
    assert ends({"a": [0, 30, 45], "b": beat}) == {}, "a sample that is missing"


def test_one_of_several_side_by_side_may_give_its_place_to_another() -> None:
    beat = [0, 15, 30, 45]
    assert ends({"a": beat, "b": [0, 15], "c": [30, 45]}) == {"b": [30]}
    assert ends({"a": [0, 15], "b": [0, 15], "c": [30, 45]}) == {"a": [30], "b": [30]}


def test_another_lane_ends_nothing() -> None:
    times: Times = {"a": [0, 15], "b": [30, 45], "c": [30, 45]}
    assert ends(times, "xyx") == {"a": [30]}
    assert ends(times, "xyz") == {}
    times = {"a": [0, 15], "b": [15, 30], "c": [15, 30], "d": [0, 45]}
    assert ends(times, "xyxy") == {"b": [45], "d": [15]}


@pytest.mark.parametrize("beat_s", [0.1, 1, 15, 300])
def test_a_reading_is_shorter_than_the_beat_of_its_series(beat_s: float) -> None:
    at = [beat_s * number for number in range(4)]
    assert ends({"a": at[:2], "b": at[2:]}) == {"a": [at[2]]}
    shifted = [each + beat_s / 4 for each in at] if beat_s <= 1 else at
    assert ends({"a": at, "b": shifted}) == {}


def test_what_ends_nothing_is_given_back_as_it_is() -> None:
    for lanes in ("xx", "xy"):
        samples = samples_at({"a": [0, 15], "b": [0, 15]})
        assert with_endings(samples, lanes, READING_US) is samples
    empty = samples_at({})
    assert with_endings(empty, "", READING_US) is empty


def test_only_some_series_are_kept_with_their_samples() -> None:
    found = only(samples_at({"a": [0], "b": [1, 2], "c": [3]}), np.array([True, False, True]))
    assert [labels[0][1] for labels in found.labels] == ["a", "c"]
    assert (found.ts.tolist(), found.bounds.tolist()) == ([0, 3_000_000], [0, 1, 2])
