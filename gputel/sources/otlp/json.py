"""An ExportMetricsServiceRequest in JSON.

Format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Unknown fields are
skipped, and so are exemplars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from gputel.sources.otlp.points import (
    CUMULATIVE,
    DELTA,
    ENDED,
    HISTOGRAM,
    NO_RECORDED_VALUE,
    SUMMARY,
    Attribute,
    Metric,
    Point,
    float_bytes,
    number_text,
)

_BYTES_OF_AN_OBJECT = 12  # at least, on average, in a body that says something
_SPARE_OBJECTS = 1000
_CUMULATIVE = (CUMULATIVE, "AGGREGATION_TEMPORALITY_CUMULATIVE")
_ABSENT = (b"", b"null")
_MOST_NS = (1 << 64) - 1
_INT64 = (-(1 << 63), (1 << 63) - 1)
_WHOLE = re.compile(r"-?\d{1,20}", re.ASCII)
_NO_JSON_NUMBERS = ("NaN", "Infinity", "-Infinity")


class JsonFlaw(ValueError):
    """The body is no such message. The text says what is wrong."""


class _Object(msgspec.Struct, rename="camel", gc=False):
    """Some object. Its fields do not matter."""


class _Value(_Object):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: msgspec.Raw = msgspec.Raw()
    kvlist_value: msgspec.Raw = msgspec.Raw()
    bytes_value: msgspec.Raw = msgspec.Raw()


class _Attribute(_Object):
    key: str = ""
    value: _Value | None = None


class _Point(_Object):
    attributes: list[_Attribute] | None = None
    time_unix_nano: int | str | None = None
    as_double: float | str | None = None
    as_int: int | str | None = None
    flags: int | None = None


class _Gauge(_Object):
    data_points: list[_Point] | None = None


class _Sum(_Gauge):
    aggregation_temporality: int | str | None = None


class _Other(_Object):
    data_points: list[_Object] | None = None


class _Metric(_Object):
    name: str | None = None
    gauge: _Gauge | None = None
    sum: _Sum | None = None
    histogram: _Other | None = None
    exponential_histogram: _Other | None = None
    summary: _Other | None = None


class _ScopeMetrics(_Object):
    metrics: list[_Metric] | None = None


class _Resource(_Object):
    attributes: list[_Attribute] | None = None


class _ResourceMetrics(_Object):
    resource: _Resource | None = None
    scope_metrics: list[_ScopeMetrics] | None = None


class _Request(_Object):
    resource_metrics: list[_ResourceMetrics] | None = None


_DECODER = msgspec.json.Decoder(_Request)


def json_metrics(body: bytes) -> Iterator[Metric]:
    """The metrics of a body. Raises JsonFlaw, also while their points are read."""
    if body.count(b"{") > len(body) // _BYTES_OF_AN_OBJECT + _SPARE_OBJECTS:
        raise JsonFlaw("it has mostly empty objects")
    try:
        request = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JsonFlaw(" ".join(str(error).split())[:300]) from None
    for of_resource in request.resource_metrics or ():
        resource = _attributes(of_resource.resource.attributes if of_resource.resource else None)
        for scope in of_resource.scope_metrics or ():
            for metric in scope.metrics or ():
                yield from _parts(resource, metric)


def _parts(resource: tuple[Attribute, ...], metric: _Metric) -> Iterator[Metric]:
    """What a metric has: one kind of points, or more if its writer was wrong."""
    name = metric.name or ""
    if metric.gauge:
        yield Metric(resource, name, map(_point, metric.gauge.data_points or ()))
    if metric.sum:
        points = metric.sum.data_points or []
        if metric.sum.aggregation_temporality in _CUMULATIVE:
            yield Metric(resource, name, map(_point, points))
        else:
            yield Metric(resource, name, refusal=DELTA, refused=len(points))
    for other, refusal in (
        (metric.histogram, HISTOGRAM),
        (metric.exponential_histogram, HISTOGRAM),
        (metric.summary, SUMMARY),
    ):
        if other:
            refused = len(other.data_points or ())
            yield Metric(resource, name, refusal=refusal, refused=refused)


def _point(point: _Point) -> Point:
    value = None
    if point.as_double is not None:
        value = float_bytes(_float("asDouble", point.as_double))
    elif point.as_int is not None:
        value = float_bytes(_int("asInt", point.as_int, *_INT64))
    if (point.flags or 0) & NO_RECORDED_VALUE:
        value = ENDED
    time_ns = _int("timeUnixNano", point.time_unix_nano or 0, 0, _MOST_NS)
    return Point(_attributes(point.attributes), time_ns, value)


def _attributes(attributes: list[_Attribute] | None) -> tuple[Attribute, ...]:
    return tuple((each.key, _text(each.value)) for each in attributes or ())


def _text(value: _Value | None) -> str | None:
    if value is None:
        return ""
    if any(
        bytes(raw) not in _ABSENT
        for raw in (value.array_value, value.kvlist_value, value.bytes_value)
    ):
        return None
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return "true" if value.bool_value else "false"
    if value.int_value is not None:
        return str(_int("intValue", value.int_value, *_INT64))
    if value.double_value is not None:
        return number_text(_float("doubleValue", value.double_value))
    return ""


def _int(name: str, number: int | str, least: int, most: int) -> int:
    """A whole number, which JSON has as text if it has 64 bits."""
    if isinstance(number, str) and not _WHOLE.fullmatch(number):
        raise JsonFlaw(f"{name} is no whole number: {number[:60]!r}")
    read = int(number)
    if not least <= read <= most:
        raise JsonFlaw(f"{name} does not fit 64 bits: {str(number)[:60]!r}")
    return read


def _float(name: str, number: float | str) -> float:
    """A number, which JSON may have as text; NaN and Infinity are no numbers of JSON."""
    if not isinstance(number, str):
        return number
    if number in _NO_JSON_NUMBERS:
        return float(number)
    try:
        return msgspec.json.decode(number.encode(), type=float)
    except msgspec.MsgspecError:
        raise JsonFlaw(f"{name} is no number: {number[:60]!r}") from None
