"""null takes any value away: what is left is valid, or the value is asked for by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart.renders import CHART, HelmError, Render, run_helm
from tests.chart.test_kubernetes_schemas import CUSTOM

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
EVERYTHING: dict[str, Any] = {
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "collector": {"autoscaling": {"enabled": True, "queueDepth": {"enabled": True}}},
    "postgres": {"backup": {"enabled": True}},
    "ingress": {"enabled": True, "hosts": ["a"]},
    "mqBroker": {"journal": {"enabled": True}},
    "streamer": {"source": {"type": "dcgmExporter"}},
}


def paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def without(values: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The values with null at the path."""
    first, *rest = path
    inner = None if not rest else without(values.get(first) or {}, tuple(rest))
    return {**values, first: inner}


_VALID: set[str] = set()


def validate(document: dict[str, Any]) -> None:
    """As Kubernetes does, each document once: most are the same whatever is null."""
    text = json.dumps(document, sort_keys=True)
    if document["kind"] != "Secret" and text not in _VALID:
        kubernetes_validate.validate(document, "1.32", strict=True)
        _VALID.add(text)


@pytest.mark.parametrize("section", VALUES)
@pytest.mark.usefixtures("quick_schemas")
def test_a_null_is_refused_by_its_name_or_renders_what_kubernetes_takes(
    helm: Path, section: str
) -> None:
    for path in paths({section: VALUES[section]}):
        try:
            text = run_helm(helm, "template", "rel", str(CHART), values=without(EVERYTHING, path))
        except HelmError as error:
            message = str(error)
            assert path[-1] in message, f"{path}: {message}"
            assert "nil pointer" not in message, f"{path}: {message}"
            assert "error calling" not in message, f"{path}: {message}"
            continue
        for document in Render(".".join(path), text).documents:
            if document["kind"] not in CUSTOM:
                validate(document)
