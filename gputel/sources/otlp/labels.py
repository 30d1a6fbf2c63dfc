"""From the attributes of OTLP to labels, as Prometheus translates them.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gputel.sources.otlp.points import LIST_ATTRIBUTE, Attribute, PointRefused

_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_NO_METRIC = re.compile(r"[^a-zA-Z0-9_:]")


def metric_name(name: str) -> str:
    """The name of the metric, with ``_`` for what PromQL does not take: ``hw_gpu_utilization``."""
    known = _NO_METRIC.sub("_", name)
    return f"_{known}" if known[:1].isdigit() else known


def resource_labels(attributes: Iterable[Attribute]) -> dict[str, str]:
    """The labels that all points of a resource have, unless they have these themselves.

    The name and the id of a service become ``job`` and ``instance``. What is no single value is
    left out.
    """
    labels = point_labels((name, text) for name, text in attributes if text)
    service = labels.pop("service_name", "")
    namespace = labels.pop("service_namespace", "")
    if service:
        labels["job"] = f"{namespace}/{service}" if namespace else service
    if instance := labels.pop("service_instance_id", ""):
        labels["instance"] = instance
    return labels


def point_labels(attributes: Iterable[Attribute]) -> dict[str, str]:
    """Labels by name. The texts of attributes that have one name as labels are joined by ``;``.

    Raises PointRefused if an attribute is no single value.
    """
    labels: dict[str, str] = {}
    for name, text in sorted(attributes, key=lambda attribute: attribute[0]):
        if text is None:
            raise PointRefused(LIST_ATTRIBUTE)
        known = _NO_LABEL.sub("_", name)
        known = f"key_{known}" if known[:1].isdigit() else known
        if known and text and known != "__name__":
            labels[known] = f"{labels[known]};{text}" if known in labels else text
    return labels
