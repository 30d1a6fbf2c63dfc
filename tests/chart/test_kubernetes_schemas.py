"""Every document of every render is what Kubernetes takes, by its own schemas."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from tests.chart.conftest import RenderOf
from tests.chart.renders import MATRIX

VERSIONS = ("1.30", "1.32", utils.latest_version())
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.usefixtures("quick_schemas")
def test_every_document_of_every_render_is_valid(render_of: RenderOf, version: str) -> None:
    """Strictly, with no unknown property; a kind without a schema is an error as well."""
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    for case in MATRIX:
        for document in render_of(case).documents:
            seen.setdefault(json.dumps(document, sort_keys=True), (case, document))
    assert len(seen) > 100
    for case, document in seen.values():
        if document["kind"] not in CUSTOM:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:
                name = document["metadata"]["name"]
                raise AssertionError(f"{case}: {document['kind']} {name}: {error}") from error


def test_a_wrong_document_would_be_noticed(render_of: RenderOf) -> None:
    document = render_of().one("Deployment", "api")
    spec = {**document["spec"], "replica": 1}
    with pytest.raises(utils.ValidationError, match="replica"):
        kubernetes_validate.validate({**document, "spec": spec}, "1.32", strict=True)
    with pytest.raises(utils.SchemaNotFoundError):
        kubernetes_validate.validate({**document, "kind": "Deploymint"}, "1.32", strict=True)
