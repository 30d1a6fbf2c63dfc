"""Samples in any order become columns, and the places of steps in them are found."""

import numpy as np
import pytest

from gputel.errors import BadExpression
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Matcher, MatchOp
from gputel.promql.values.samples import STALE_BITS, SeriesSamples, collect, places

A, B, C, D = ((("n", name),) for name in "abcd")


def whole(samples: SeriesSamples) -> dict:
    return {
        labels: list(
            zip(samples.part(i, i + 1).ts.tolist(), samples.part(i, i + 1).values.tolist(),
                strict=True)
        )
        for i, labels in enumerate(samples.labels)
    }  # fmt: skip


def test_samples_come_out_by_series_and_time():
    found = collect([B, A], np.array([0, 2, 4]), np.array([5, 3, 1, 9]), np.arange(4.0))
    assert found.labels == [A, B]
    assert whole(found) == {A: [(1, 2.0), (9, 3.0)], B: [(3, 1.0), (5, 0.0)]}


def test_series_in_order_of_time_only_change_places():
    found = collect([B, A], np.array([0, 2, 4]), np.array([3, 5, 1, 9]), np.arange(4.0))
    assert found.labels == [A, B]
    assert whole(found) == {A: [(1, 2.0), (9, 3.0)], B: [(3, 0.0), (5, 1.0)]}


def test_equal_labels_are_one_series_and_of_one_instant_the_last_sample_counts():
    found = collect([A, A], np.array([0, 2, 4]), np.array([1, 2, 2, 3]), np.arange(4.0))
    assert whole(found) == {A: [(1, 0.0), (2, 2.0), (3, 3.0)]}


def test_a_series_without_samples_stays():
    found = collect([A, B, C, D], np.array([0, 0, 2, 2, 2]), np.array([7, 6]), np.ones(2))
    assert found.bounds.tolist() == [0, 0, 2, 2, 2]
    assert whole(found)[B] == [(6, 1.0), (7, 1.0)]


def test_no_series_have_no_samples():
    found = collect([], np.array([0]), np.array([], np.int64), np.array([]))
    assert (found.labels, found.bounds.tolist()) == ([], [0])


def test_places_are_of_each_series_alone_however_far_its_times_lie_apart():
    far = 2**60
    found = collect([A, B], np.array([0, 2, 4]), np.array([-far, 5, 5, far]), np.zeros(4))
    moments = np.array([-far, 5, 6, far])
    assert places(found, moments, after=False).tolist() == [[0, 1, 2, 2], [2, 2, 3, 3]]
    assert places(found, moments, after=True).tolist() == [[1, 2, 2, 2], [2, 3, 3, 4]]


def test_the_mark_of_a_series_end_is_told_from_other_nans():
    values = np.array([np.nan, 1.0, 0.0])
    values.view(np.int64)[2] = STALE_BITS
    found = SeriesSamples([A], np.array([0, 3]), np.arange(3), values)
    assert found.stale.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("op", "value", "taken"),
    [
        (MatchOp.EQUAL, "ab", ["ab"]),
        (MatchOp.NOT_EQUAL, "ab", ["", "b", "a\nb", "é"]),
        (MatchOp.RE, "a.*", ["ab"]),
        (MatchOp.RE, "(?i)B|É", ["b", "é"]),
        (MatchOp.RE, "", [""]),
        (MatchOp.NOT_RE, ".+", ["", "a\nb"]),
    ],
)
def test_matchers_take_whole_values(op, value, taken):
    values = ["", "ab", "b", "a\nb", "é"]
    found = matches(Matcher("n", op, value), values)
    assert [each for each, good in zip(values, found, strict=True) if good] == taken


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|aa)+b", "(.*)(.*)(.*)(.*)(.*)(.*)x", "a{,900}b"])
def test_patterns_that_would_backtrack_for_ever_do_not(pattern):
    assert not matches(Matcher("n", MatchOp.RE, pattern), ["a" * 20_000])[0]


def test_a_pattern_that_grows_out_of_bounds_is_refused():
    with pytest.raises(BadExpression, match="regular expression of n"):
        matches(Matcher("n", MatchOp.RE, "((a{900}){900}){900}"), ["a"])
