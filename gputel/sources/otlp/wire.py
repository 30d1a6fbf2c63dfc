"""An ExportMetricsServiceRequest in protobuf, read field by field.

Messages: https://github.com/open-telemetry/opentelemetry-proto, ``metrics/v1/metrics.proto``.
Unknown fields are skipped. A library that makes an object of each message needs 60 times the memory
of a body that consists of empty ones; this one keeps nothing but the points that are stored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gputel.sources.exposition.read_samples import TooManySamples
from gputel.sources.otlp.points import (
    CUMULATIVE,
    DELTA,
    ENDED,
    HISTOGRAM,
    MOST_ATTRIBUTES,
    NO_RECORDED_VALUE,
    SUMMARY,
    Attribute,
    Metric,
    Point,
    float_bytes,
    number_text,
)
from gputel.sources.protobuf.reading import FieldBudget, WireFlaw, signed, text_of, varint

_FIELDS_OF_AN_ATTRIBUTE = 16  # it has four
_BYTES_OF_A_FIELD = 4  # at least, on average, in a body that says something
_SPARE_FIELDS = 10_000
_MESSAGES_OF_A_POINT = 4  # itself, and its metric, scope and resource
_FIXED = struct.Struct("<Q")
_SIGNED = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")

# Field numbers, by message. All messages with points have them under the number 1.
_RESOURCE_METRICS = 1
_RESOURCE, _SCOPE_METRICS = 1, 2
_METRICS = 2
_NAME, _GAUGE, _SUM = 1, 5, 7
_REFUSED = {9: HISTOGRAM, 10: HISTOGRAM, 11: SUMMARY}
_POINTS, _TEMPORALITY = 1, 2
_TIME, _AS_DOUBLE, _AS_INT, _ATTRIBUTES, _FLAGS = 3, 4, 6, 7, 8
RESOURCE_ATTRIBUTES, POINT_ATTRIBUTES = 1, _ATTRIBUTES
_KEY, _VALUE = 1, 2
_TEXT, _BOOL, _INT, _FLOAT = 1, 2, 3, 4
_NO_SINGLE_VALUES = (5, 6, 7)  # lists, maps, bytes


class WireRequest:
    """One body. ``most``: the points that it may have."""

    def __init__(self, body: bytes, most: int) -> None:
        self._body = body
        self._fields = FieldBudget(len(body) // _BYTES_OF_A_FIELD + _SPARE_FIELDS).fields
        self._messages_left = _MESSAGES_OF_A_POINT * most

    def metrics(self) -> Iterator[Metric]:
        """The metrics of a body. Raises WireFlaw, and TooManySamples if it has far too many parts.

        The points of a metric are read when they are asked for.
        """
        for start, end in self._parts(0, len(self._body), _RESOURCE_METRICS):
            resource = bytearray()
            for begin, stop in self._parts(start, end, _RESOURCE):
                resource += self._body[begin:stop]
            shared = bytes(resource)
            for scope in self._parts(start, end, _SCOPE_METRICS):
                for metric in self._parts(*scope, _METRICS):
                    yield from self._metric(shared, *metric)

    def _parts(self, start: int, end: int, number: int) -> Iterator[tuple[int, int]]:
        """Where the messages of this field number start and end."""
        for field, begin, stop in self._fields(self._body, start, end):
            if field == number:
                self._messages_left -= 1
                if self._messages_left < 0:
                    raise TooManySamples
                yield begin, stop

    def _metric(self, resource: bytes, start: int, end: int) -> Iterator[Metric]:
        """What a metric has: one kind of points, or more if its writer was wrong."""
        name = ""
        parts = []
        for number, begin, stop in self._fields(self._body, start, end):
            if number == _NAME:
                name = text_of(self._body, begin, stop)
            elif number in (_GAUGE, _SUM) or number in _REFUSED:
                parts.append((number, begin, stop))
        for number, begin, stop in parts:
            refusal = _REFUSED.get(number, "")
            if number == _SUM and self._temporality(begin, stop) != CUMULATIVE:
                refusal = DELTA
            points = self._parts(begin, stop, _POINTS)
            if refusal:
                yield Metric(resource, name, refusal=refusal, refused=sum(1 for _ in points))
            else:
                yield Metric(resource, name, (self._point(*point) for point in points))

    def _temporality(self, start: int, end: int) -> int:
        temporality = 0
        for number, begin, stop in self._fields(self._body, start, end):
            if number == _TEMPORALITY:
                temporality, _ = varint(self._body, begin, stop)
        return temporality

    def _point(self, start: int, end: int) -> Point:
        body = self._body
        attributes = bytearray()
        value: bytes | None = None
        time_ns = flags = 0
        tag = start
        for number, begin, stop in self._fields(body, start, end):
            if number == _ATTRIBUTES:
                attributes += body[tag:stop]
            elif number == _TIME:
                (time_ns,) = _FIXED.unpack(_eight(body, begin, stop))
            elif number == _AS_DOUBLE:
                value = _eight(body, begin, stop)
            elif number == _AS_INT:
                value = float_bytes(_SIGNED.unpack(_eight(body, begin, stop))[0])
            elif number == _FLAGS:
                flags, _ = varint(body, begin, stop)
            tag = stop
        return Point(bytes(attributes), time_ns, ENDED if flags & NO_RECORDED_VALUE else value)


def attributes_of(packed: bytes, number: int) -> list[Attribute]:
    """The attributes in the fields of this number, at most one over MOST_ATTRIBUTES.

    Raises WireFlaw.
    """
    attributes: list[Attribute] = []
    fields = FieldBudget(_FIELDS_OF_AN_ATTRIBUTE * MOST_ATTRIBUTES).fields
    for field, start, end in fields(packed, 0, len(packed)):
        if field != number:
            continue
        name: str = ""
        text: str | None = ""
        for part, begin, stop in fields(packed, start, end):
            if part == _KEY:
                name = text_of(packed, begin, stop)
            elif part == _VALUE:
                text = _value_text(fields(packed, begin, stop), packed)
        attributes.append((name, text))
        if len(attributes) > MOST_ATTRIBUTES:
            break
    return attributes


def _value_text(fields: Iterator[tuple[int, int, int]], packed: bytes) -> str | None:
    text: str | None = ""
    for number, begin, stop in fields:
        if number == _TEXT:
            text = text_of(packed, begin, stop)
        elif number == _BOOL:
            text = "true" if varint(packed, begin, stop)[0] else "false"
        elif number == _INT:
            text = str(signed(varint(packed, begin, stop)[0]))
        elif number == _FLOAT:
            text = number_text(_DOUBLE.unpack(_eight(packed, begin, stop))[0])
        elif number in _NO_SINGLE_VALUES:
            text = None
    return text


def _eight(body: bytes, start: int, end: int) -> bytes:
    if end - start != _FIXED.size:
        raise WireFlaw("a number has not 8 bytes")
    return body[start:end]
