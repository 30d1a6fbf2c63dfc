"""Numbers, strings and spans are read and written as Prometheus does."""

import math

import pytest

from gputel.promql.syntax.go_text import format_float, parse_float, plain_float, quoted
from gputel.times import format_duration, parse_duration

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("value", "short", "plain"),
    [
        (0.0, "0", "0"), (-0.0, "-0", "-0"), (5.0, "5", "5"), (123456.0, "123456", "123456"),
        (1234567.0, "1.234567e+06", "1234567"), (3e7, "3e+07", "30000000"),
        (0.0001, "0.0001", "0.0001"), (0.00001, "1e-05", "0.00001"),
        (0.1 + 0.2, *["0.30000000000000004"] * 2),
        (-1.5e300, "-1.5e+300", "-15" + "0" * 299), (5e-324, "5e-324", "0." + "0" * 323 + "5"),
        (math.nan, "NaN", "NaN"), (math.inf, "+Inf", "+Inf"), (-math.inf, "-Inf", "-Inf"),
    ],
)  # fmt: skip
def test_numbers_are_written_in_the_fewest_digits(value, short, plain):
    assert format_float(value) == short
    assert plain_float(value) == plain


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-.5e-1", -0.05), ("Inf", math.inf), ("-infinity", -math.inf), ("0x1p-2", 0.25)],
)
def test_numbers_are_read_in_the_forms_of_go(text, value):
    assert parse_float(text) == value


@pytest.mark.parametrize("text", ["", "1e", "1_000", " 1", "0x10", "1e999", "0x1p99999", "one"])
def test_other_forms_are_no_numbers(text):
    with pytest.raises(ValueError, match=r"invalid syntax|out of range"):
        parse_float(text)


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [("5m", 300, "5m"), ("90s", 90, "1m30s"), ("1w", 604_800, "1w"), ("1w1h", 608_400, "7d1h"),
     ("26h", 93_600, "1d2h"), ("1y", 31_536_000, "1y"), ("500ms", 0.5, "500ms"), ("0s", 0, "0s"),
     ("1h0m1s5ms", 3601.005, "1h1s5ms")],
)  # fmt: skip
def test_spans_are_read_and_written(text, seconds, shown):
    assert parse_duration(text) == round(seconds * SECOND)
    assert format_duration(parse_duration(text)) == shown


@pytest.mark.parametrize("text", ["", "5", "5x", "1m1h", "1.5h", "-1m", "293y", "9" * 30 + "s"])
def test_other_texts_are_no_spans(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_text_is_quoted():
    assert quoted('a"\\\n\té\x00\u200b') == r'"a\"\\\n\té\x00\u200b"'
