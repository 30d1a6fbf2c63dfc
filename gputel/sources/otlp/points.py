"""Metrics and their points, as both encodings of OTLP have them.

Data model: https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from gputel.model.bounds import RAW_BYTES
from gputel.model.columns import STALE_BITS

Attribute = tuple[str, str | None]
"""A name and a text, which is empty for no value. None: it is a list, a map, or bytes."""

Attributes = bytes | tuple[Attribute, ...]
"""As the message has them in protobuf, or read, from JSON."""

CUMULATIVE = 2
"""The number of the only temporality of sums that is stored."""

DELTA = "delta"
HISTOGRAM = "histogram"
SUMMARY = "summary"
NO_NAME = "no_name"
NO_TIME = "no_time"
NO_VALUE = "no_value"
LIST_ATTRIBUTE = "list_attribute"
LARGE = "large"

MOST_ATTRIBUTES = 512
"""Of a point, and of a resource."""

REFUSALS = {
    DELTA: "sums are stored only with cumulative temporality",
    HISTOGRAM: "histograms are not stored",
    SUMMARY: "summaries are not stored",
    NO_NAME: "a metric has no name",
    NO_TIME: "time_unix_nano is missing",
    NO_VALUE: "a point has no value",
    LIST_ATTRIBUTE: "an attribute of a point is a list, a map or bytes",
    LARGE: f"a point has labels of over {RAW_BYTES} bytes, or over {MOST_ATTRIBUTES} attributes",
}
"""Why points are refused, in words."""

NO_RECORDED_VALUE = 1
"""The flag of a point that says that its series has ended."""

_FLOAT = struct.Struct("<d")
ENDED = struct.pack("<q", STALE_BITS)
"""The value of such a point."""


class Point(NamedTuple):
    """One number. ``value`` is the 8 bytes of a float64; None if the point has no value."""

    attributes: Attributes
    time_ns: int
    value: bytes | None


class Metric(NamedTuple):
    """Points of one metric of one resource.

    ``refusal`` is a key of REFUSALS if none of them is stored: then ``refused`` says how many there
    are, and ``points`` is empty.
    """

    resource: Attributes
    name: str
    points: Iterable[Point] = ()
    refusal: str = ""
    refused: int = 0


class PointRefused(ValueError):
    """A point is not stored. The text is a key of REFUSALS."""


def float_bytes(number: float) -> bytes:
    """The 8 bytes of a value; an int64 is rounded to the nearest float64."""
    return _FLOAT.pack(number)


def number_text(number: float) -> str:
    """A number as the text of a label: ``2`` and not ``2.0``."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
