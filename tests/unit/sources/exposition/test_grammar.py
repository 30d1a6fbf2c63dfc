"""The grammar of Prometheus' text format, and the reasons for which a line is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gputel.model.raw_labels import raw_text
from gputel.sources.exposition.grammar import LineFlaw, parse_line


@pytest.mark.parametrize(
    ("line", "name", "labels", "value", "time_us"),
    [
        ("a 1", "a", {}, 1.0, None),
        ("a{} 1", "a", {}, 1.0, None),
        ('a{b="c"}1', "a", {"b": "c"}, 1.0, None),
        ('\ta { b = "c" , } \t 1 \t 1700000000123 ', "a", {"b": "c"}, 1.0, 1700000000123000),
        ("a:b_c 1e3", "a:b_c", {}, 1000.0, None),
        ("a .5", "a", {}, 0.5, None),
        ("a -5.", "a", {}, -5.0, None),
        ("a +Inf", "a", {}, math.inf, None),
        ("a 1 -1", "a", {}, 1.0, -1000),
        ('{"my.metric",a="b"} 1', "my.metric", {"a": "b"}, 1.0, None),
        ('m{"quoted label"="x"} 1', "m", {"quoted label": "x"}, 1.0, None),
        (r'm{a="x\\y\"z\n"} 1', "m", {"a": 'x\\y"z\n'}, 1.0, None),
        (r'm{a="C:\dir"} 1', "m", {"a": r"C:\dir"}, 1.0, None),
        ('m{a="} 1"} 2', "m", {"a": "} 1"}, 2.0, None),
        ('m{a="ü"} 2', "m", {"a": "ü"}, 2.0, None),
    ],
)
def test_line_is_read(line: str, name: str, labels: dict, value: float, time_us: int) -> None:
    sample = parse_line(line)
    assert (sample.name, sample.labels, sample.value, sample.time_us) == (
        name,
        labels,
        value,
        time_us,
    )


def test_openmetrics_has_seconds_and_exemplars() -> None:
    line = 'a_total{b="c"} 1 1700000000.123456 # {trace_id="x"} 0.5 1700000000.1'
    sample = parse_line(line, open_metrics=True)
    assert (sample.labels, sample.value, sample.time_us) == ({"b": "c"}, 1.0, 1700000000123456)
    assert parse_line("a 1 -0.5", open_metrics=True).time_us == -500_000
    with pytest.raises(LineFlaw, match="no number of seconds"):
        parse_line("a 1 9999999999999", open_metrics=True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("5 1", "does not begin with a metric name"),
        ("{} 1", "no metric name"),
        ("a", "no value"),
        ("a{b} 1", "no = after the label b"),
        ('a{b="c" 1', "neither , nor }"),
        ('a{pod="say "hi""} 1', "a quote in its value"),
        ("a{b=c} 1", "not in quotes"),
        ('a{b="c} 1', "never closed"),
        ('a{b="c",b="d"} 1', "label b is there twice"),
        ('a{1b="c"} 1', "no label name"),
        ('a{b="c"}', "no value"),
        ("a 0x1p3", "the value is no number: '0x1p3'"),
        ("a 1_000", "the value is no number"),
        (
            "a ERROR - FAILED TO CONVERT TO STRING",
            "no number: 'ERROR - FAILED TO CONVERT TO STRING'",
        ),
        ("a 1 2.5", "no number of milliseconds"),
        ("a 1 9999999999999999", "no number of milliseconds"),
        ("a 1 2 3", "something follows the time: '3'"),
        ("a \u0661", "the value is no number"),
        ("a " + "9" * 400 + "x", "the value is no number"),
    ],
)
def test_bad_line_is_refused_with_its_reason(line: str, reason: str) -> None:
    with pytest.raises(LineFlaw) as flaw:
        parse_line(line)
    assert reason in flaw.value.reason
    assert len(flaw.value.reason) < 200


# prometheus_client refuses names that begin with two underscores, which are Prometheus' own.
LABEL_NAMES = st.from_regex(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True),
    st.dictionaries(LABEL_NAMES, TEXTS, max_size=4),
    st.floats(allow_nan=False),
)
def test_line_means_what_it_means_to_prometheus_client(
    name: str, labels: dict[str, str], value: float
) -> None:
    line = f"{name}{{{raw_text(labels)}}} {value!r}"
    sample = parse_line(line)
    (family,) = text_string_to_metric_families(line + "\n")
    (theirs,) = family.samples
    assert (sample.name, sample.labels, sample.value) == (
        theirs.name,
        theirs.labels,
        theirs.value,
    )


@settings(max_examples=300, deadline=None)
@given(st.text('a{}="\\, 1\n#', max_size=30))
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    try:
        sample = parse_line(text)
    except LineFlaw:
        return
    assert sample.name
