"""An evaluation takes bounded memory, and looks again and again at whether it is still wanted."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gputel.errors import BadExpression, ExpressionFailed
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Matcher, MatchOp
from gputel.promql.syntax.parse import MOST_DEPTH, MOST_OPERATORS, parse
from gputel.promql.values import windows
from gputel.promql.values.bounds import EvaluationBounds
from tests.unit.promql.series import ask, every, same

MATRICES = ("quantile_over_time(0.9,a[1d])", "stddev_over_time(a[1d])", "stdvar_over_time(a[1d])")


class Stopped(Exception):
    pass


def stop_after(looks: int):
    """A check that lets so many looks pass."""
    left = iter(range(looks))

    def check() -> None:
        if next(left, None) is None:
            raise Stopped

    return check


@pytest.mark.parametrize("query", MATRICES)
def test_functions_of_all_samples_of_a_window_make_no_matrix_of_steps_times_samples(query):
    data = {"a": every(1, 20_000)}
    tracemalloc.start()
    try:
        ask(query, data, *range(19_500, 20_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000  # one such matrix would have 80 MB, and there were several


def whole_and_cut(query, data, size, monkeypatch):
    """The answer with windows of 20 s, made at once, and made in blocks of so many samples."""
    query = query.replace("a[1d]", "a[20s]")
    whole = ask(query, data, *range(0, 90, 3))
    monkeypatch.setattr(windows, "_COPIED_AT_ONCE", size)
    cut = ask(query, data, *range(0, 90, 3))
    assert cut.keys() == whole.keys()
    return whole, cut


@pytest.mark.parametrize("size", [7, 40])
@pytest.mark.parametrize("query", [*MATRICES, "quantile_over_time(-1,a[1d])"])
def test_blocks_of_any_size_give_the_values_of_the_whole(query, size, monkeypatch):
    data = {
        "a{host=1}": [*every(1, 60, lambda n: n * 7 % 13), (70, np.nan), (71, 2.0)],
        "a{host=2}": every(3, 9),
    }
    whole, cut = whole_and_cut(query, data, size, monkeypatch)
    for labels, points in whole.items():
        assert all(same(points[at], cut[labels][at]) for at in points)


@pytest.mark.parametrize(
    "query", ["topk(2, {q})", "quantile(0.4, {q})", "stddev({q})", "{q} + {q}"]
)
def test_steps_in_blocks_give_the_values_of_the_whole(query, monkeypatch):
    data = {f"a{{host={n}}}": every(1, 50, lambda at, n=n: at * n % 17) for n in range(9)}
    query = query.replace("{q}", "sum_over_time(a[9s])")
    whole = ask(query, data, *range(50))
    monkeypatch.setattr(windows, "_CELLS_AT_ONCE", 20)
    monkeypatch.setattr(windows, "_READ_AT_ONCE", 20)
    assert ask(query, data, *range(50)) == whole


@pytest.mark.parametrize(
    "query", ["sum_over_time(a[1d])", "rate(a[1d])", "max_over_time(a[1d])", *MATRICES]
)
def test_a_query_over_one_series_ends_soon_after_it_is_no_longer_wanted(query, monkeypatch):
    monkeypatch.setattr(windows, "_READ_AT_ONCE", 1000)
    monkeypatch.setattr(windows, "_COPIED_AT_ONCE", 1000)
    data = {"a": every(1, 2000, lambda n: n % 5)}
    with pytest.raises(Stopped):
        ask(query, data, *range(1000, 2000), check=stop_after(20))


def test_a_window_that_is_the_same_at_every_step_is_read_once(monkeypatch):
    monkeypatch.setattr(windows, "_READ_AT_ONCE", 1000)
    data = {"a": every(1, 2000)}
    found = ask("sum_over_time(a[1d] @ 2000)", data, *range(1000, 2000), check=stop_after(20))
    assert set(found["{}"].values()) == {1999 * 1000.0}


def test_vectors_that_wait_for_others_count_against_the_limit():
    data = {"a": every(1, 100)}
    nested = "a + (" * 9 + "a" + ")" * 9
    bounds = EvaluationBounds(lambda: None, max_points=500)
    with pytest.raises(ExpressionFailed, match="--query-max-samples"):
        ask(nested, data, *range(100), bounds=bounds)
    flat = "+".join("a" * 10)
    assert ask(flat, data, *range(100), bounds=EvaluationBounds(lambda: None, max_points=500))


def test_series_that_take_turns_on_one_side_are_counted_before_they_are_paired():
    takes_turns = {f"one{{turn={n}}}": [(n * 400, 1.0)] for n in range(20)}
    data = {f"many{{host={n}}}": every(10, 800) for n in range(20)} | takes_turns
    query = "many * on() group_left(turn) one"
    steps = range(0, 8000, 400)
    assert len(ask(query, data, *steps)) == 400
    with pytest.raises(ExpressionFailed, match="makes 400 series"):
        ask(query, data, *steps, bounds=EvaluationBounds(lambda: None, max_series=399))


def test_the_deepest_expression_that_is_taken_is_evaluated():
    data = {"a": [(0, 1.0)]}
    assert ask("abs(" * (MOST_DEPTH - 1) + "a" + ")" * (MOST_DEPTH - 1), data, 0) == {"{}": {0: 1}}
    assert ask("-" * (MOST_DEPTH - 1) + "a", data, 0)
    assert ask("(" * (MOST_DEPTH - 1) + "a" + ")" * (MOST_DEPTH - 1), data, 0)
    assert ask(f"{'sum_over_time(' * 9}a{'[1m:1m])' * 9}", data, 0)


def test_a_chain_of_operators_may_be_longer_than_calls_may_be_deep():
    found = ask("+".join("a" * MOST_OPERATORS), {"a": [(0, 1.0)]}, 0)
    assert found == {"{}": {0: MOST_OPERATORS}}


@pytest.mark.parametrize(
    "text",
    ["abs(" * 400 + "a" + ")" * 400, "2^" * 400 + "2", "-" * 499 + "a"],
    ids=lambda text: text[:6],
)
def test_what_is_nested_deeper_is_refused_in_words(text):
    with pytest.raises(BadExpression, match=f"nested over {MOST_DEPTH} deep"):
        parse(text)


@pytest.mark.parametrize("text", ['\\"' * 32_000, "'\\'" * 20_000, "`" * 65_001, "\"'" * 32_000])
def test_quotes_that_are_not_closed_do_not_hold_the_parser_up(text):
    with pytest.raises(BadExpression):
        parse(text)


def test_patterns_whose_repetitions_make_them_large_are_refused():
    parse('a{b=~"GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"}')
    with pytest.raises(BadExpression, match="repeats too much"):
        parse('a{b=~"%s"}' % ("(?:%s){300}" % ("x?" * 200)))


def test_a_search_that_is_not_wanted_any_more_ends_between_two_texts():
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    matcher = Matcher("a", MatchOp.RE, "x" * 16_000)
    with pytest.raises(TimeoutError):
        matches(matcher, [f"{n}" * 4000 for n in range(10)], stopped)
    assert len(asked) == 4


def test_what_a_subquery_computes_counts_against_the_limit():
    data = {f"a{{host={n}}}": every(1, 100) for n in range(5)}
    bounds = EvaluationBounds(lambda: None, max_points=499)
    with pytest.raises(ExpressionFailed, match="--query-max-samples"):
        ask("sum_over_time(a[100s:1s])", data, 99, bounds=bounds)
    assert (
        len(ask("sum_over_time(a[99s:1s])", data, 99, bounds=EvaluationBounds(lambda: None, 500)))
        == 5
    )
    with pytest.raises(ExpressionFailed, match="a subquery has 501 steps"):
        ask("sum_over_time(no[500s:1s])", data, 499, bounds=bounds)


@pytest.mark.parametrize(
    "query",
    ["deriv(a[1d])", "predict_linear(a[1d], 60)", "holt_winters(a[1d], 0.5, 0.5)",
     "sum_over_time(sum_over_time(a[9s])[1d:1s])", "label_replace(a, 'b', '$1', 'c', '(.*)')",
     "histogram_quantile(0.5, a)"],
)  # fmt: skip
def test_a_query_of_any_kind_ends_when_it_is_no_longer_wanted(query, monkeypatch):
    monkeypatch.setattr(windows, "_READ_AT_ONCE", 1000)
    monkeypatch.setattr(windows, "_COPIED_AT_ONCE", 1000)
    data = {f"a{{le={n}}}": every(1, 500, lambda n: n % 5) for n in range(3)}
    with pytest.raises(Stopped):
        ask(query, data, *range(250, 500), check=stop_after(3))


@pytest.mark.parametrize(
    "query", ["deriv(a[1d])", "predict_linear(a[1d], 60)", "holt_winters(a[1d], 0.5, 0.25)"]
)
@pytest.mark.parametrize("size", [7, 40])
def test_trends_of_blocks_of_any_size_are_those_of_the_whole(query, size, monkeypatch):
    data = {
        "a{host=1}": [*every(1, 60, lambda n: n * 7 % 13), (70, np.nan), (71, 2.0)],
        "a{host=2}": every(3, 9, lambda _: 0.1),
    }
    whole, cut = whole_and_cut(query, data, size, monkeypatch)
    for labels, points in whole.items():
        assert all(
            same(points[at], cut[labels][at]) or abs(points[at] - cut[labels][at]) < 1e-12
            for at in points
        )
