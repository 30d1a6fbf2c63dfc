"""Numbers are written as Prometheus writes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel.api.prometheus.json import ResultWriter, instant
from gputel.promql.values.vector import Scalar


def written(*values: float) -> list[str]:
    """The text of each value."""
    texts = []
    for value in values:
        body = instant(Scalar(np.array([value])), 0, ResultWriter(10_000, lambda: None))
        texts.append(json.loads(body)["data"]["result"][1])
    return texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (42949672960.0, "42949672960"),
        (-1e10, "-10000000000"),
        (12345678901.25, "12345678901.25"),
        (2.0**60, "1152921504606847000"),
        (9e20, "900000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-6, "0.0000015"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_written_as_prometheus_writes_them(value: float, text: str) -> None:
    assert written(value) == [text]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_it_was(value: float) -> None:
    (text,) = written(value)
    assert float(text) == value
    assert ("e" in text) == (value != 0 and not 1e-6 <= abs(value) < 1e21)
