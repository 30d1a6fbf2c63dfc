"""Expressions over samples at steps; a real Prometheus is compared with elsewhere."""

import math

import numpy as np
import pytest

from gputel.errors import ExpressionFailed
from gputel.promql.samples import STALE_BITS
from tests.unit.promql.series import ask, every

STALE = float(np.array([STALE_BITS]).view(np.float64)[0])
GAUGE = {"g{gpu=0}": every(10, 7), "g{gpu=1}": every(10, 7, lambda n: 10 * n)}


def test_a_value_counts_until_it_is_more_than_five_minutes_old():
    data = {"g{}": [(0, 7.0)]}
    assert ask("g", data, -1, 0, 300, 300.001) == {"g{}": {0: 7.0, 300: 7.0}}


def test_a_series_ends_at_its_stale_marker():
    data = {"g{}": [(0, 7.0), (10, STALE), (60, 8.0)]}
    assert ask("g", data, 9, 10, 59, 60) == {"g{}": {9: 7.0, 60: 8.0}}
    assert ask("count_over_time(g[1m])", data, 60) == {"{}": {60: 2.0}}


def test_nan_is_a_value():
    found = ask("g", {"g{}": [(0, math.nan)]}, 1)
    assert math.isnan(found["g{}"][1])


def test_windows_have_both_their_ends():
    assert ask("count_over_time(g[20s])", GAUGE, 20)["{gpu=0}"] == {20: 3.0}


def test_rate_reaches_to_both_ends_of_its_window():
    data = {"c{}": every(10, 7, lambda n: 100 + 10 * n)}
    assert ask("rate(c[1m])", data, 65)["{}"][65] == pytest.approx(1.0)
    assert ask("increase(c[1m])", data, 65)["{}"][65] == pytest.approx(60.0)


def test_rate_adds_what_a_counter_had_before_it_fell_back():
    data = {"c{}": [(0, 90), (10, 100), (20, 5), (30, 15)]}
    assert ask("increase(c[30s])", data, 30) == {"{}": {30: pytest.approx(25.0)}}
    assert ask("resets(c[30s])", data, 30) == {"{}": {30: 1.0}}
    assert ask("delta(c[30s])", data, 30) == {"{}": {30: pytest.approx(-75.0)}}


def test_rate_does_not_reach_below_zero():
    data = {"c{}": [(50, 1), (60, 11)]}
    assert ask("increase(c[19s])", data, 60)["{}"][60] == pytest.approx(11.0)


def test_rate_needs_two_samples():
    assert ask("rate(g[5s])", GAUGE, 60) == {}


@pytest.mark.parametrize(
    ("function", "value"),
    [("sum", 15), ("avg", 5), ("min", 4), ("max", 6), ("count", 3), ("last", 6)],
)
def test_functions_over_time(function, value):
    (found,) = ask(f"{function}_over_time(g{{gpu='0'}}[20s])", GAUGE, 60).values()
    assert found == {60: value}


def test_only_last_over_time_keeps_the_name():
    assert set(ask("last_over_time(g[20s])", GAUGE, 60)) == {"g{gpu=0}", "g{gpu=1}"}
    assert set(ask("max_over_time(g[20s])", GAUGE, 60)) == {"{gpu=0}", "{gpu=1}"}


def test_minimum_and_maximum_pass_over_nan_and_sums_do_not():
    data = {"g{}": [(0, 1.0), (1, math.nan), (2, 3.0)]}
    assert ask("min_over_time(g[9s])", data, 2) == {"{}": {2: 1.0}}
    assert ask("max_over_time(g[9s])", data, 2) == {"{}": {2: 3.0}}
    assert math.isnan(ask("sum_over_time(g[9s])", data, 2)["{}"][2])


def test_an_aggregation_is_of_the_series_that_are_there_at_each_step():
    data = {"g{gpu=0,h=x}": [(0, 1)], "g{gpu=1,h=x}": [(400, 5)], "g{gpu=2,h=y}": [(0, 3)]}
    assert ask("sum by (h) (g)", data, 0, 400) == {"{h=x}": {0: 1.0, 400: 5.0}, "{h=y}": {0: 3.0}}
    assert ask("count without (gpu) (g)", data, 0) == {"{h=x}": {0: 1.0}, "{h=y}": {0: 1.0}}


def test_topk_ranks_an_instant_and_keeps_labels():
    data = {f"g{{gpu={n}}}": [(0, value)] for n, value in enumerate([3, 9, math.nan, 5])}
    assert list(ask("topk(3, g)", data, 0)) == ["g{gpu=1}", "g{gpu=3}", "g{gpu=0}"]
    assert list(ask("bottomk(2, g)", data, 0)) == ["g{gpu=0}", "g{gpu=3}"]
    assert list(ask("sort_desc(g)", data, 0))[-1] == "g{gpu=2}"


def test_topk_of_no_number_fails():
    with pytest.raises(ExpressionFailed, match="overflows int64"):
        ask("topk(NaN, g)", GAUGE, 0)


def test_a_comparison_filters_and_bool_tells():
    assert ask("g > 30", GAUGE, 60) == {"g{gpu=0}": {}, "g{gpu=1}": {60: 60.0}}
    assert ask("30 < bool g", GAUGE, 60) == {"{gpu=0}": {60: 0.0}, "{gpu=1}": {60: 1.0}}


def test_vectors_match_by_their_labels():
    data = {"a{x=1,y=1}": [(0, 8)], "b{x=1}": [(0, 2)], "b{x=2}": [(0, 3)]}
    assert ask("a / on(x) b", data, 0) == {"{x=1}": {0: 4.0}}
    assert ask("a / ignoring(y) group_left b", data, 0) == {"{x=1,y=1}": {0: 4.0}}
    assert ask("a / b", data, 0) == {}


def test_two_series_on_the_one_side_fail_only_where_both_are_there():
    data = {"a{x=1}": [(0, 8)], "b{x=1,z=1}": [(0, 2)], "b{x=1,z=2}": [(400, 4)]}
    turns = {**data, "a{x=1}": [(0, 8), (400, 8)]}
    assert ask("a / on(x) b", turns, 0, 400) == {"{x=1}": {0: 4.0, 400: 2.0}}
    with pytest.raises(ExpressionFailed, match="duplicate series for the match group"):
        ask("a / on(x) b", turns | {"b{x=1,z=2}": [(0, 4)]}, 0)


def test_many_to_one_must_be_said():
    data = {"a{x=1,y=1}": [(0, 8)], "a{x=1,y=2}": [(0, 8)], "b{x=1}": [(0, 2)]}
    with pytest.raises(ExpressionFailed, match="many-to-one matching must be explicit"):
        ask("a / on(x) b", data, 0)


def test_names_that_fall_away_must_not_leave_two_of_one_kind():
    data = {"a{x=1}": [(0, 8)], "b{x=1}": [(0, 2)]}
    with pytest.raises(ExpressionFailed, match="same labelset"):
        ask('-{__name__=~"a|b"}', data, 0)


def test_sets_of_series():
    data = {"a{x=1}": [(0, 8)], "a{x=2}": [(0, 9)], "b{x=1}": [(0, 2)]}
    assert ask("a and b", data, 0) == {"a{x=1}": {0: 8.0}, "a{x=2}": {}}
    assert ask("a unless b", data, 0) == {"a{x=1}": {}, "a{x=2}": {0: 9.0}}
    assert ask("b or a", data, 0) == {"b{x=1}": {0: 2.0}, "a{x=1}": {}, "a{x=2}": {0: 9.0}}


def test_scalars_are_worth_something_at_every_step():
    assert ask("time() * 2", {}, 1, 2.5) == [2.0, 5.0]
    assert ask("scalar(g{gpu='1'})", GAUGE, 0, 60) == [0.0, 60.0]
    assert all(math.isnan(value) for value in ask("scalar(g)", GAUGE, 0, 60))
    assert ask('"text"', {}, 0) == "text"


def test_absent_says_what_was_asked_for():
    assert ask("absent(no{a='1',b=~'2'})", GAUGE, 0) == {"{a=1}": {0: 1.0}}
    assert ask("absent(g)", GAUGE, 0, 1000) == {"{}": {1000: 1.0}}


def test_the_work_can_be_ended():
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        ask("1 + 1", {}, 0, check=stop)
