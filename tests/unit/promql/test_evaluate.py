"""Expressions over samples at steps; a real Prometheus is compared with elsewhere."""

import math
from typing import Any

import numpy as np
import pytest

from gputel.errors import BadExpression, ExpressionFailed
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.samples import STALE_BITS
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


def test_a_side_is_not_looked_at_where_the_other_one_has_no_series():
    data = {"a{x=1}": [(400, 8)], "b{x=1,z=1}": [(0, 2), (400, 2)], "b{x=1,z=2}": [(0, 3)]}
    assert ask("a * on(x) b", data, 0, 400) == {"{x=1}": {400: 16.0}}
    assert ask("b * on(x) group_left a", data, 0, 400) == {
        "{x=1,z=1}": {400: 16.0}, "{x=1,z=2}": {},
    }  # fmt: skip
    assert ask("no * on(x) b", data, 0) == {}


def test_many_to_one_is_refused_by_what_is_matched_not_by_what_comes_out():
    data = {"a{x=1}": [(0, 8)], "b{x=1}": [(0, 8)]}
    with pytest.raises(ExpressionFailed, match="many-to-one matching must be explicit"):
        ask('{__name__=~"a|b"} == ignoring(x) a', data, 0)
    data["b{x=1}"] = [(0, 9)]  # filtered, and so no second result
    assert ask('{__name__=~"a|b"} == ignoring(x) a', data, 0) == {"a{}": {0: 8.0}, "b{}": {}}


def test_equal_values_have_no_deviation():
    data = {f"g{{gpu={n}}}": every(1, 20, lambda _: 0.1) for n in range(7)}
    for function in ("stddev", "stdvar"):
        assert ask(f"{function}(g)", data, 5) == {"{}": {5: 0.0}}
        assert set(ask(f"{function}_over_time(g[20s])", data, 19)["{gpu=0}"].values()) == {0.0}
    assert ask("stddev(g)", {"g{}": [(0, math.nan)]}, 0) == {"{}": {0: 0.0}}


def test_averages_of_the_largest_numbers_do_not_run_over():
    most = 1.7976931348623157e308
    data = {f"g{{gpu={n}}}": every(1, 9, lambda _: most) for n in range(3)}
    assert ask("avg(g)", data, 5) == {"{}": {5: most}}
    assert ask("avg_over_time(g[9s])", data, 8)["{gpu=0}"] == {8: most}
    data = {"g{gpu=0}": [(0, 1e308), (1, 1e308), (2, -math.inf)]}
    assert ask("avg_over_time(g[9s])", data, 1, 2) == {"{gpu=0}": {1: 1e308, 2: -math.inf}}
    mixed = {"g{gpu=0}": [(0, 1e308)], "g{gpu=1}": [(0, 1e308)], "g{gpu=2}": [(0, -math.inf)]}
    assert ask("avg(g)", mixed, 0) == {"{}": {0: -math.inf}}
    mixed["g{gpu=3}"] = [(0, math.inf)]
    assert math.isnan(ask("avg(g)", mixed, 0)["{}"][0])


@pytest.mark.parametrize("length", [4, 30_000])
def test_sums_do_not_lose_what_large_numbers_hide(length):
    points = [(0, 1.0), (1, 1e100), (2, 1.0), (3, -1e100)]
    points += [(second, 0.0) for second in range(4, length)]
    assert ask("sum_over_time(g[1d])", {"g{}": points}, length) == {"{}": {length: 2.0}}
    found = ask("avg_over_time(g[1d])", {"g{}": points}, length)
    assert found == {"{}": {length: 2.0 / length}}


def test_tenths_sum_up_to_a_whole():
    assert ask("sum_over_time(g[1m])", {"g{}": every(1, 10, lambda _: 0.1)}, 9) == {"{}": {9: 1.0}}


def test_an_infinite_bound_counts_more_than_nan():
    data = {"g{}": [(0, math.nan)], "h{}": [(0, 5.0)]}
    assert ask("clamp_min(g, Inf)", data, 0) == {"{}": {0: math.inf}}
    assert ask("clamp_max(g, -Inf)", data, 0) == {"{}": {0: -math.inf}}
    assert ask("clamp(h, -Inf, Inf)", data, 0) == {"{}": {0: 5.0}}
    assert math.isnan(ask("clamp(h, NaN, 9)", data, 0)["{}"][0])
    assert ask("clamp(h, 9, 1)", data, 0) == {"{}": {}}


def test_a_subquery_has_steps_that_are_multiples_of_its_own():
    data = {"g{}": every(10, 100)}
    assert ask("count_over_time(g[1m:20s])", data, 300, 305) == {"{}": {300: 4.0, 305: 3.0}}
    assert ask("sum_over_time(g[3m:])", data, 200) == {"{}": {200: 6.0 + 12 + 18}}
    assert ask("max_over_time(g[1m:10s] offset 1m)", data, 600) == {"{}": {600: 54.0}}
    assert ask("max_over_time(g[1m:10s] @ 70)", data, 600, 900) == {"{}": {600: 7.0, 900: 7.0}}
    assert ask("max_over_time((g @ 70)[1m:10s])", data, 600) == {"{}": {600: 7.0}}
    assert ask("max_over_time(g[5s:1m])", data, 610) == {}
    assert ask("last_over_time(g[5m:])", data, 600) == {"g{}": {600: 60.0}}
    nested = "max_over_time(rate(sum_over_time(g[30s:10s])[1m:10s])[2m:30s])"
    assert ask(nested, data, 600)["{}"][600] == pytest.approx(0.4)


def test_windows_far_apart_do_not_fill_the_time_between_them_with_steps():
    bounds = EvaluationBounds(lambda: None, max_points=1000)
    data = {"g{}": every(10, 10)}
    steps = [n * 1_000_000_000 for n in range(5)]
    assert ask("sum_over_time(g[1m:10s])", data, *steps, bounds=bounds) == {"{}": {0: 0.0}}


def test_labels_are_replaced_by_groups_of_the_pattern():
    data = {"g{h=host-12}": [(0, 1)], "g{h=other}": [(0, 2)]}
    replace = "label_replace(g, 'n', {}, 'h', {})"
    assert set(ask(replace.format("'$1.$2'", "'(h.*)-([0-9]+)'"), data, 0)) == {
        "g{h=host-12,n=host.12}", "g{h=other}",
    }  # fmt: skip
    assert set(ask(replace.format("'${x}$$$y$9'", "'(?:host)-(?P<x>.)(.)'"), data, 0)) == {
        "g{h=host-12,n=1$}", "g{h=other}",
    }  # fmt: skip
    assert set(ask(replace.format("'$1'", r"`[(]|\(|\Q(\E|(o.*)`"), data, 0)) == {
        "g{h=host-12}", "g{h=other,n=other}",
    }  # fmt: skip
    assert set(ask("label_replace(g, 'h', '', 'h', 'host.*')", data, 0)) == {"g{}", "g{h=other}"}
    with pytest.raises(ExpressionFailed, match="same labelset"):
        ask("label_replace(g, 'h', '', 'h', '.*')", data, 0)
    with pytest.raises(BadExpression, match="repeats too much"):
        ask("label_replace(g, 'h', '', 'h', '(?:(?:x{1000}){1000}){1000}')", data, 0)


def test_labels_are_joined():
    data = {"g{a=1,b=2}": [(0, 1)]}
    assert set(ask("label_join(g, 'c', '-', 'a', 'no', 'b')", data, 0)) == {"g{a=1,b=2,c=1--2}"}
    assert set(ask("label_join(g, 'a', '-', 'no')", data, 0)) == {"g{b=2}"}
    with pytest.raises(ExpressionFailed, match="invalid source label name"):
        ask("label_join(g, 'a', '-', 'a-b')", data, 0)


def test_the_line_through_a_window_has_a_slope_and_goes_on():
    data: dict[str, Any] = {"g{}": every(10, 7, lambda n: 5 + 2 * n), "one{}": [(60, 1.0)]}
    assert ask("deriv(g[1m])", data, 60)["{}"][60] == pytest.approx(0.2)
    assert ask("predict_linear(g[1m], 100)", data, 60)["{}"][60] == pytest.approx(37)
    assert ask("predict_linear(g[1m] @ 60, 100)", data, 60, 70)["{}"][70] == pytest.approx(39)
    assert ask("deriv(one[1m])", data, 60) == {}
    assert ask("deriv(g[1m])", {"g{}": every(10, 7, lambda _: 0.1)}, 60) == {"{}": {60: 0.0}}


def test_a_window_is_smoothed():
    data = {"g{}": [(0, 1.0), (1, 2.0), (2, 4.0)]}
    assert ask("holt_winters(g[9s], 0.5, 0.5)", data, 2)["{}"][2] == pytest.approx(3.5)
    with pytest.raises(ExpressionFailed, match="invalid trend factor"):
        ask("holt_winters(g[9s], 0.5, 1)", data, 2)
    assert ask("holt_winters(no[9s], 0.5, 1)", data, 2) == {}


def test_values_are_counted():
    data = {f"g{{gpu={n}}}": [(0, value)] for n, value in enumerate([1.5, 1.5, 1e21, math.nan])}
    found = ask("count_values('v', g)", data, 0)
    assert found == {
        "{v=1.5}": {0: 2.0}, "{v=1000000000000000000000}": {0: 1.0}, "{v=NaN}": {0: 1.0},
    }  # fmt: skip
    with pytest.raises(ExpressionFailed, match="series, over the limit"):
        ask("count_values('v', g)", data, 0, bounds=EvaluationBounds(lambda: None, max_series=2))


def test_a_quantile_lies_in_its_bucket():
    bounds = {"0.1": 10, "0.5": 15, "+Inf": 20}
    data = {f"b{{le={le}}}": [(0, count)] for le, count in bounds.items()}
    for quantile, value in ((0, 0), (0.25, 0.05), (0.5, 0.1), (0.7, 0.42), (0.9, 0.5)):
        found = ask(f"histogram_quantile({quantile}, b)", data, 0)
        assert found["{}"][0] == pytest.approx(value)
    assert ask("histogram_quantile(2, b)", data, 0) == {"{}": {0: math.inf}}
    del data["b{le=+Inf}"]
    assert math.isnan(ask("histogram_quantile(0.5, b)", data, 0)["{}"][0])


def test_parts_of_dates_are_those_of_utc():
    leap_day = 1_709_210_096  # 2024-02-29 12:34:56, a Thursday
    parts = {"year": 2024, "month": 2, "day_of_month": 29, "day_of_year": 60, "day_of_week": 4,
             "days_in_month": 29, "hour": 12, "minute": 34}  # fmt: skip
    for part, value in parts.items():
        assert ask(f"{part}()", {}, leap_day) == {"{}": {leap_day: float(value)}}
        assert ask(f"{part}(g)", {"g{a=1}": [(0, leap_day)]}, 0) == {"{a=1}": {0: float(value)}}


def test_absence_over_time_is_of_the_whole_window():
    found = ask("absent_over_time(g{a='1',b=~'x'}[10s])", {"g{a=1,b=x}": [(0, 1)]}, 5, 10, 11)
    assert found == {"{a=1}": {11: 1.0}}


def test_native_histograms_are_of_no_series():
    assert ask("histogram_count(g)", GAUGE, 0) == {}
    assert ask("histogram_fraction(0, 1, g)", GAUGE, 0) == {}


@pytest.mark.parametrize(
    "function",
    ["holt_winters({}, 0.5, 0.5)", "predict_linear({}, 60)", "deriv({})", "stddev_over_time({})",
     "avg_over_time({})", "sum_over_time({})", "rate({})", "quantile_over_time(0.5, {})"],
)  # fmt: skip
def test_infinite_values_of_many_windows_are_values_like_others(function):
    values = [math.inf, math.inf, -math.inf, 1e308, -1e308, 1e308, math.nan]
    data = {"g{}": every(1, 200, lambda n: values[n % 7])}
    assert len(ask(function.format("g[10s]"), data, *range(10, 200))["{}"]) == 190
