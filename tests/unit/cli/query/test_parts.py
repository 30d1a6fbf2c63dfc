from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel import times
from gputel.cli.ask.api import default_api_url, objects
from gputel.cli.ask.sparkline import BLOCKS, sparkline
from gputel.cli.ask.table import cell
from gputel.cli.moments import TimeType
from gputel.errors import ConfigError


def test_an_api_of_this_machine_is_asked_on_the_port_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GPUTEL_API_PORT", raising=False)
    assert default_api_url() == "http://127.0.0.1:8080"
    monkeypatch.setenv("GPUTEL_API_PORT", "9080")
    assert default_api_url() == "http://127.0.0.1:9080"
    monkeypatch.setenv("GPUTEL_API_PORT", "tcp://10.0.0.1:8080")
    assert default_api_url() == "http://127.0.0.1:8080", "a service link is no port"
    monkeypatch.setenv("GPUTEL_API_PORT", "http")
    with pytest.raises(ConfigError, match="GPUTEL_API_PORT: 'http' is not a whole number"):
        default_api_url()


@given(
    st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.floats(allow_nan=False)}), max_size=8),
    st.integers(1, 40),
)
def test_objects_of_an_array_are_found_wherever_it_is_cut(
    wanted: list[dict[str, object]], size: int
) -> None:
    body = json.dumps(wanted, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    assert list(objects(pieces)) == wanted


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("now-2h", timedelta(hours=2)),
        ("now", timedelta(0)),
    ],
)
def test_a_duration_is_a_moment_before_now(text: str, ago: timedelta) -> None:
    found = times.parse(TimeType().convert(text, None, None))
    assert abs(datetime.now(UTC) - ago - found) < timedelta(seconds=10)


def test_a_moment_stays_as_it_was_written() -> None:
    assert (
        TimeType().convert("2025-07-18T20:42:34+02:00", None, None) == "2025-07-18T20:42:34+02:00"
    )


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2025-07-18", "2025-07-18T00:00:00Z", "2025-07-18T23:59:59.999999Z"),
        ("2025-07-18T20:42", "2025-07-18T20:42:00Z", "2025-07-18T20:42:00Z"),
        ("2025-07-18 20:42:34", "2025-07-18T20:42:34Z", "2025-07-18T20:42:34Z"),
        ("2025-07-18T20:42:34.5", "2025-07-18T20:42:34.5Z", "2025-07-18T20:42:34.5Z"),
    ],
)
def test_a_moment_without_a_zone_is_utc(text: str, begin: str, end: str) -> None:
    assert TimeType().convert(text, None, None) == begin
    assert TimeType(end=True).convert(text, None, None) == end


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-30",
        "2025-07-18T25:00",
        "2025-07-18T",
        "",
        "1",
        "h",
        "-1h",
        "1.5h",
        "1y",
        "yesterday",
        "999999w",
        "٣h",
    ],
)
def test_what_is_neither_is_refused_with_examples_of_both(text: str) -> None:
    with pytest.raises(click.BadParameter, match="15m, 1h or 7d nor an RFC 3339 time like 2025"):
        TimeType().convert(text, None, None)


def test_values_print_as_people_write_them() -> None:
    assert [cell(value) for value in (0.0, 0, -3.0, 0.5, None, 1e300, "x")] == [
        "0",
        "0",
        "-3",
        "0.5",
        "",
        "1e+300",
        "x",
    ]


def test_a_sparkline_goes_from_the_lowest_to_the_highest_block() -> None:
    assert sparkline([*range(8)]) == BLOCKS
    assert sparkline([5.0, None, 5.0, float("nan")]) == "▁ ▁ "
    assert sparkline([-1.7e308, 1.7e308]) == "▁█"
    assert sparkline([None]) == " "


@given(st.lists(st.none() | st.floats(), max_size=60))
def test_a_sparkline_has_one_character_a_value(values: list[float | None]) -> None:
    assert len(sparkline(values)) == len(values)
