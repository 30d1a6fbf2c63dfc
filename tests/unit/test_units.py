"""Sizes and spans as people read them."""

from __future__ import annotations

import pytest

from gputel.units import age, size, span


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (3072, "3 KiB"),
        (3100, "3.0 KiB"),
        (5e15, "4,547.5 TiB"),
    ],
)
def test_sizes_have_the_unit_that_suits_them(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 ms"),
        (0.00025, "0.25 ms"),
        (1.0, "1 s"),
        (59.96, "60 s"),
        (7200, "2 h"),
        (2e5, "2.31 d"),
    ],
)
def test_times_have_the_unit_that_suits_them(count: float, text: str) -> None:
    assert span(count) == text


def test_ages_are_in_the_unit_that_suits_them() -> None:
    assert [age(s) for s in (0.2, 4.4, 90, 7200, 864000)] == ["now", "4 s", "2 min", "2 h", "10 d"]
