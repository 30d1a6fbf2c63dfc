from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel import times

NOON = datetime(2025, 7, 18, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2025-07-18T12:00:00Z",
        "2025-07-18t12:00:00z",
        "2025-07-18 12:00:00Z",
        "2025-07-18T12:00:00.000Z",
        "2025-07-18T12:00:00+00:00",
        "2025-07-18T12:00:00 00:00",
        "2025-07-18T14:30:00+02:30",
        "2025-07-18T14:30:00 02:30",
        "2025-07-18T10:00:00-02:00",
        "2025-07-18T11:59:60Z",
    ],
)
def test_every_spelling_of_a_moment_is_the_same_moment(text: str) -> None:
    assert times.parse(text) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2025-07-18",
        "2025-07-18T12:00:00",
        "2025-07-18T12:00Z",
        "1752840000",
        "2025-13-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2025-07-18T24:00:00Z",
        "2025-07-18T12:00:61Z",
        "2025-07-18T12:00:00+24:00",
        "2025-07-18T12:00:00+00:60",
        "2025-07-18T12:00:00,5Z",
        "٢٠٢٥-07-18T12:00:00Z",
        "2025-07-18T12:00:00Z\n",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused_with_a_good_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2025-07-18T20:42:34Z"):
        times.parse(text)


def test_digits_beyond_the_microsecond_round_towards_the_inside_of_a_range() -> None:
    text = "2025-07-18T12:00:00.0000001Z"
    assert times.parse(text) == NOON
    assert times.parse(text, round_up=True) == NOON + timedelta(microseconds=1)
    assert times.parse("2025-07-18T12:00:00.0000000Z", round_up=True) == NOON
    late = times.parse("2025-07-18T11:59:59.9999999Z", round_up=True)
    assert late == NOON


def test_moments_outside_the_calendar_become_its_ends() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert times.parse("0000-02-29T00:00:00Z") == first
    assert times.parse("0001-01-01T00:00:00+01:00") == first
    assert times.parse("9999-12-31T23:59:59.999999-00:01") == last


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_python_writes_is_read_back(moment: datetime) -> None:
    assert times.parse(moment.isoformat()) == moment
    assert times.parse(times.rfc3339(moment)) == moment


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("now", timedelta(0)),
        ("now-30s", timedelta(seconds=30)),
        ("now-15m", timedelta(minutes=15)),
        ("now-1h", timedelta(hours=1)),
        ("now-7d", timedelta(days=7)),
        ("now-2w", timedelta(weeks=2)),
    ],
)
def test_moments_may_be_relative_to_now(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC)
    assert before <= times.moment(text) + ago <= datetime.now(UTC)


def test_long_before_now_is_the_beginning_of_the_calendar() -> None:
    assert times.moment("now-99999999d") == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["now+1h", "now-", "now-1", "now-1w1", "-1h", "Now", "now-1h\n"])
def test_what_is_no_moment_is_refused_with_both_spellings(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2025-07-18T20:42:34Z or now-1h"):
        times.moment(text)


def test_a_moment_is_written_with_z_and_microseconds_only_where_it_has_some() -> None:
    assert times.rfc3339(NOON) == "2025-07-18T12:00:00Z"
    assert times.rfc3339(NOON.replace(microsecond=5)) == "2025-07-18T12:00:00.000005Z"


@pytest.mark.parametrize(
    ("text", "printed"),
    [("2w", "14d"), ("48h", "2d"), ("90m", "90m"), ("45s", "45s"), ("0h", "0s")],
)
def test_a_span_is_printed_in_the_largest_unit_that_divides_it(text: str, printed: str) -> None:
    assert str(times.Duration.parse(text)) == printed
