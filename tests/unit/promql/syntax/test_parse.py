"""Text becomes an expression, or is refused by a line that says what is wrong with it."""

import math
import time

import pytest

from gputel.errors import BadExpression
from gputel.promql.syntax.nodes import (
    Aggregation,
    Binary,
    Call,
    Card,
    Edge,
    Matcher,
    Matching,
    MatchOp,
    Number,
    Selector,
    Subquery,
    Text,
    Unary,
)
from gputel.promql.syntax.parse import parse, parse_selector

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


def test_a_time_may_lie_before_1970():
    assert parse("a @ -5") == Selector((NAMED,), at=-5_000_000)
    assert parse("a @ +5.0004") == Selector((NAMED,), at=5_000_000)


def test_text_in_quotes_is_no_part_of_the_language():
    selector = Selector((NAMED, Matcher("b", MatchOp.EQUAL, "x @ 0.000")))
    assert parse('a{b="x @ 0.000"}') == selector


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (r"`\d+\Q`", r"\d+\Q"),
        ("`a\n\"'b`", "a\n\"'b"),
        (r'"\x41\101\u00e9\U0001F600"', "AAé😀"),
        (r'"\a\b\f\n\r\t\v\\\""', '\a\b\f\n\r\t\v\\"'),
        (r"'\''", "'"),
    ],
)
def test_strings_are_read_as_go_reads_them(literal, text):
    assert parse(literal) == Text(text)


@pytest.mark.parametrize(
    "pattern", [r"`\d+`", r"`\Qa.b\E`", r"`\101`", r'"\\d"', "`(?i)x|[[:alpha:]]`"]
)
def test_patterns_are_those_of_re2(pattern):
    assert parse(f"a{{b=~{pattern}}}")


@pytest.mark.parametrize("name", ["anchored", "smoothed", "fill", "sum", "offset", "start", "end",
                                  "by", "unless", "step", "limitk", "COUNT"])  # fmt: skip
def test_a_word_that_means_nothing_in_its_place_is_a_name(name):
    assert parse(name) == Selector((Matcher("__name__", MatchOp.EQUAL, name),))
    assert parse(f"a{{{name}='1'}} + {name}")


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 8), ("0x1F", 31), ("09", 9), ("1e3", 1000), (".5", 0.5), ("5.", 5), ("0", 0),
     ("-Inf", -math.inf), ("1e-2", 0.01), ("+inf", math.inf)],
)  # fmt: skip
def test_numbers_are_read_as_go_reads_them(text, value):
    assert parse(text) == Number(value)


def test_a_minus_binds_less_than_a_power_and_more_than_a_product():
    assert parse("-2 ^ 2") == Unary("-", parse("2 ^ 2"))
    assert parse("-a * b") == Binary("*", parse("-a"), parse("b"), False, Matching())
    assert parse("2 ^ -1 ^ 2") == Binary("^", Number(2), parse("-1 ^ 2"), False, Matching())


def test_a_subquery_has_all_its_parts():
    assert parse("a[1h:5m] offset 1m @ end()") == Subquery(
        parse("a"), 3_600_000_000, 300_000_000, 60_000_000, Edge.END
    )
    assert parse("a[1h:]") == Subquery(parse("a"), 3_600_000_000)


def test_aggregations_calls_and_matching():
    left = Aggregation("topk", Selector((NAMED,)), Number(3), without=True, labels=("x", "y"))
    right = Call("rate", (Selector((NAMED,), range_us=1_000_000),))
    matching = Matching(Card.MANY_TO_ONE, True, ("x",), ("z",))
    text = "topk without (x, y) (3, a) > bool on(x) group_left(z) rate(a[1s])"
    assert parse(text) == Binary(">", left, right, return_bool=True, matching=matching)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1:1: parse error: no expression found in input"),
        ("a{", "1:3: parse error: unexpected end of input in label matching, expected identifier"),
        ("a +\n  *", '2:3: parse error: unexpected "\\*"'),
        ("rate(a)", 'expected type range vector in call to function "rate", got instant vector'),
        ('a{b=~"("}', "regular expression of b.*missing \\)"),
        ("{}", "at least one non-empty matcher"),
        ('{a=~".*"}', "at least one non-empty matcher"),
        ('{b!~".+", c=""}', "at least one non-empty matcher"),
        ("{" + ",".join(['b=~"a"'] * 33) + "}", "more than 32 regular expressions"),
        ('a{__name__="b"}', "metric name must not be set twice"),
        ('a{b="1" or c="2"}', 'unexpected identifier "or" in label matching, expected "," or "}"'),
        ("mad_over_time(a[5m])", 'unknown function with name "mad_over_time"'),
        ("a > 5m", "unexpected duration"),
        ("a[5]", "bad number or duration syntax"),
        ("a[0s]", "duration must be greater than 0"),
        ("a[1y300y]", "parse error"),
        ("a[5m] offset 1m offset 2m", "offset may not be set multiple times"),
        ("a @ 1 @ 2", "may not be set multiple times"),
        ("sum(a) offset 5m", "offset modifier must be preceded by"),
        ("(a)[5m]", "ranges only allowed for vector selectors"),
        ("a offset 5m [5m]", "no offset modifiers allowed before range"),
        ("1[5m:]", "subquery is only allowed on instant vector"),
        ("a[5m] + 1", "must contain only scalar and instant vector types"),
        ('a{b="\\d"}', "unknown escape sequence U\\+0064 'd': write .* backquotes"),
        ("'a\nb'", "unterminated quoted string"),
        ("1 > 2", "comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "bool modifier can only be used on comparison operators"),
        ("a and on(x) group_left b", 'no grouping allowed for "and" operation'),
        ("a + on(x) group_left(x) b", 'label "x" must not occur in ON and GROUP clause at once'),
        ("a + on(x) 1", "vector matching only allowed between instant vectors"),
        ("1 and a", 'set operator "and" not allowed'),
        ("sum(a, b)", "expected 1, got 2"),
        ("topk(a)", "expected 2, got 1"),
        ("count_values(1, a)", "expected type string in aggregation parameter, got scalar"),
        ("round(a, 1, 2)", "expected at most 2"),
        ("abs(a,)", "trailing commas"),
        ("a @ 1e300", "timestamp out of bounds"),
        ("a offset 300000000y", "duration out of range"),
        ("a\ud800", "not UTF-8"),
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
    for text in ("a[5m]", "a offset 1m", "(a)", "a[5m:1m]", "a + 1", "1", "sum(a)"):
        with pytest.raises(BadExpression, match="not a series selector"):
            parse_selector(text)
