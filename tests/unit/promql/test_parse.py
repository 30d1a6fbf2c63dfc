"""Text becomes an expression, or is refused by a line that says what is wrong with it."""

import time

import pytest

from gputel.errors import BadExpression
from gputel.promql.nodes import (
    Aggregate,
    Binary,
    Call,
    Card,
    Edge,
    Matcher,
    Matching,
    MatchOp,
    Number,
    Selector,
)
from gputel.promql.parse import parse, parse_selector

NAMED = Matcher("__name__", MatchOp.EQUAL, "a")


def test_a_selector_has_all_its_parts():
    node = parse('a{b="1", c!="2", d=~"3", e!~"4"}[5m] offset 1h @ 12.5')
    assert node == Selector(
        (NAMED, Matcher("b", MatchOp.EQUAL, "1"), Matcher("c", MatchOp.NOT_EQUAL, "2"),
         Matcher("d", MatchOp.RE, "3"), Matcher("e", MatchOp.NOT_RE, "4")),
        range_us=300_000_000, offset_us=3_600_000_000, at=12_500_000,
    )  # fmt: skip


def test_patterns_are_those_that_were_written_however_they_were_quoted():
    text = """a{b=~"x\\"=~y", c!~ # =~ "no"
      'y|', d=~`=~"z\\d`, e="=~", f!~".+", g="0"}"""
    found = [(str(each.op), each.value) for each in parse(text).matchers[1:]]
    assert found == [
        ("=~", 'x"=~y'), ("!~", "y|"), ("=~", '=~"z\\d'), ("=", "=~"), ("!~", ".+"), ("=", "0"),
    ]  # fmt: skip


def test_a_selector_whose_pattern_takes_no_empty_text_needs_no_other_matcher():
    for pattern in ('=~".+"', '!~".*"', '!~"|a"'):
        assert len(parse("{b" + pattern + "}").matchers) == 1


def test_offsets_go_both_ways_and_times_have_edges():
    assert parse("a offset -5m") == Selector((NAMED,), offset_us=-300_000_000)
    assert parse("a @ start()") == Selector((NAMED,), at=Edge.START)
    assert parse("a @ end()") == Selector((NAMED,), at=Edge.END)


def test_a_time_before_1970_is_its_beginning():
    assert parse("a @ -5") == Selector((NAMED,), at=0)


def test_aggregations_calls_and_matching():
    left = Aggregate("topk", Selector((NAMED,)), Number(3), without=True, labels=("x", "y"))
    right = Call("rate", (Selector((NAMED,), range_us=1_000_000),))
    matching = Matching(Card.MANY_TO_ONE, True, ("x",), ("z",))
    text = "topk without (x, y) (3, a) > bool on(x) group_left(z) rate(a[1s])"
    assert parse(text) == Binary(">", left, right, return_bool=True, matching=matching)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no expression"),
        ("a{", "parse error"),
        ("rate(a)", "expected type matrix"),
        ('a{b=~"("}', "the regular expression of b"),
        ('{b=~".*"}', "at least one non-empty matcher"),
        ('{b!~".+", c=""}', "at least one non-empty matcher"),
        ("{" + ",".join(['b=~"a"'] * 33) + "}", "more than 32 regular expressions"),
        ("{}", "at least one non-empty matcher"),
        ("max_over_time(a[5m:1m])", "subqueries"),
        ("histogram_quantile(0.9, a)", "the function histogram_quantile is outside the subset"),
        ('count_values("x", a)', "the aggregation count_values is outside the subset"),
        ('a{b="1" or c="2"}', "alternatives of matchers"),
        ("a + fill(0) b", "fill modifiers"),
        ("a @ 1e300", "parse error"),
        ("a @ 1e12", "out of range"),
        ("a offset 300000000y", "parse error"),
        ("a\ud800", "parse error"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(text, says):
    with pytest.raises(BadExpression, match=says):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 50_000, "-" * 50_000 + "1", "+".join("a" * 20_000), "a{b='" + "x" * 70_000 + "'}",
     "abs(" * 10_000, " and ".join("a" * 10_000), "sum by (a) (" * 4000, "[" * 60_000,
     'a{b=~"' + "x" * 20_000 + '"}'],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_expressions_that_would_hold_the_parser_up_are_refused_before_it(text):
    began = time.process_time()
    with pytest.raises(BadExpression):
        parse(text)
    assert time.process_time() - began < 20  # the parser alone would take minutes, or crash


def test_brackets_in_quotes_and_comments_do_not_count():
    assert parse(f'a{{b="{"(" * 2000}"}} # {"(" * 2000}')


def test_only_a_plain_selector_is_a_series_selector():
    assert parse_selector("a") == Selector((NAMED,))
    for text in ("a[5m]", "a offset 1m", "a + 1", "1", "sum(a)"):
        with pytest.raises(BadExpression, match="not a series selector"):
            parse_selector(text)
