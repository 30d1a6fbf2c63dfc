"""From the attributes of OTLP to labels, as Prometheus translates them.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gputel.sources.otlp.points import Attribute, ListAttribute

_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_NO_METRIC = re.compile(r"[^a-zA-Z0-9_:]")


def metric_name(name: str) -> str:
    """The name of the metric, with ``_`` for what PromQL does not take: ``hw_gpu_utilization``."""
    known = _NO_METRIC.sub("_", name)
    return f"_{known}" if known[:1].isdigit() else known


def labels_of(resource: Iterable[Attribute], point: Iterable[Attribute]) -> dict[str, str]:
    """The labels of a point: its attributes, which win, and those of its resource.

    The name and the id of a service become ``job`` and ``instance``. What is no single value is
    left out of a resource. Raises ListAttribute if a point has such an attribute.
    """
    labels = _named((name, text) for name, text in resource if text)
    service = labels.pop("service_name", "")
    namespace = labels.pop("service_namespace", "")
    if service:
        labels["job"] = f"{namespace}/{service}" if namespace else service
    if instance := labels.pop("service_instance_id", ""):
        labels["instance"] = instance
    return labels | _named(point)


def _named(attributes: Iterable[Attribute]) -> dict[str, str]:
    """Labels by name. The texts of attributes that have one name as labels are joined by ``;``."""
    labels: dict[str, str] = {}
    for name, text in sorted(attributes, key=lambda attribute: attribute[0]):
        if text is None:
            raise ListAttribute
        known = _NO_LABEL.sub("_", name)
        known = f"key_{known}" if known[:1].isdigit() else known
        if known and text and known != "__name__":
            labels[known] = f"{labels[known]};{text}" if known in labels else text
    return labels
