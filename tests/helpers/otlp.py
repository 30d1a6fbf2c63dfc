"""Exports of OTLP metrics, written with opentelemetry-proto."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    NumberDataPoint,
)

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
Attributes = Mapping[str, Any]
"""Texts, numbers, truth values and bytes; lists and maps of them; None for no value."""


@dataclass
class Export:
    """An export that is being written: one resource with metrics."""

    resource: Attributes = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)

    def gauge(self, name: str, *points: NumberDataPoint) -> Export:
        """Add a gauge."""
        metric = Metric(name=name)
        metric.gauge.data_points.extend(points)
        return self.add(metric)

    def total(self, name: str, *points: NumberDataPoint, temporality: Any = CUMULATIVE) -> Export:
        """Add a sum."""
        metric = Metric(name=name, unit="J")
        metric.sum.data_points.extend(points)
        metric.sum.aggregation_temporality = temporality
        metric.sum.is_monotonic = True
        return self.add(metric)

    def others(self, attributes: Attributes, time_ns: int) -> Export:
        """Add a histogram with two points, an exponential one and a summary with one."""
        metric = Metric(name="H")
        for _ in range(2):
            point = metric.histogram.data_points.add(time_unix_nano=time_ns, count=1, sum=2.5)
            point.attributes.extend(key_values(attributes))
        exponential, summary = Metric(name="E"), Metric(name="S")
        exponential.exponential_histogram.data_points.add(time_unix_nano=time_ns, count=1)
        summary.summary.data_points.add(time_unix_nano=time_ns, count=1)
        return self.add(metric).add(exponential).add(summary)

    def add(self, metric: Metric) -> Export:
        """Add a metric."""
        self.metrics.append(metric)
        return self


def point(
    value: Any, time_ns: int, attributes: Attributes, *, ended: bool = False
) -> NumberDataPoint:
    """A point with a float, or an int as int64, or None for no value."""
    made = NumberDataPoint(time_unix_nano=time_ns, start_time_unix_nano=1, flags=int(ended))
    made.attributes.extend(key_values(attributes))
    if isinstance(value, int):
        made.as_int = value
    elif value is not None:
        made.as_double = value
    return made


def request(exports: Iterable[Export]) -> ExportMetricsServiceRequest:
    """The request with these resources."""
    made = ExportMetricsServiceRequest()
    for export in exports:
        resource_metrics = made.resource_metrics.add(schema_url="https://example.com")
        resource_metrics.resource.attributes.extend(key_values(export.resource))
        scope = resource_metrics.scope_metrics.add()
        scope.scope.name = "test"
        scope.metrics.extend(export.metrics)
    return made


def protobuf(*exports: Export) -> bytes:
    """The body in protobuf."""
    return request(exports).SerializeToString()


def json(*exports: Export) -> bytes:
    """The body in JSON, with enums as numbers, as OTLP has them."""
    return json_format.MessageToJson(request(exports), use_integers_for_enums=True).encode()


def key_values(attributes: Attributes) -> list[KeyValue]:
    """Attributes as the message has them."""
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes.items()]


def _value(value: Any) -> AnyValue:
    made = AnyValue()
    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    if isinstance(value, list):
        made.array_value.values.extend(map(_value, value))
    elif isinstance(value, dict):
        made.kvlist_value.values.extend(key_values(value))
    elif isinstance(value, bytes):
        made.bytes_value = value
    elif value is not None:
        setattr(made, kinds[type(value)], value)
    return made
