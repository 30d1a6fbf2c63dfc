from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gputel.api.app import build_app
from gputel.api.openapi import build_document
from gputel.api.pages import DOCUMENT
from gputel.api.shared.paths import OTLP_PATHS, PAGES
from gputel.web.health import Health

KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"
STATIC = "/static/{name}"


@pytest.fixture
def app() -> web.Application:
    return build_app(None, Health())


@pytest.fixture
def document(app: web.Application) -> dict[str, Any]:
    return app[DOCUMENT]()


def validate(document: dict[str, Any]) -> None:
    """Check that it is OpenAPI, by a package whose import takes half a second."""
    import openapi_spec_validator

    openapi_spec_validator.validate(document)


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_document_is_valid_openapi_3_0_3(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.0.3"
    validate(document)


def test_every_route_is_documented_and_nothing_else_is(
    app: web.Application, document: dict[str, Any]
) -> None:
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    undocumented = {(path, "get") for path in (*PAGES, STATIC)}
    assert {(path, method) for path, method, _ in operations(document)} == routes - undocumented


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for *_, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_every_operation_says_what_it_does_and_how_it_refuses(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        assert {"200", "202", "204"} & operation["responses"].keys(), path
        name = "PrometheusError" if path.startswith("/prometheus/") else "Error"
        name = "Status" if path in OTLP_PATHS else name
        for status in {"401", "403", "429", "default"} & operation["responses"].keys():
            refusal = operation["responses"][status]["content"]["application/json"]["schema"]
            assert refusal == {"$ref": f"#/components/schemas/{name}"}, (path, status)


def test_what_reads_the_store_documents_each_of_its_refusals(document: dict[str, Any]) -> None:
    gpus = document["paths"]["/api/v1/gpus"]["get"]
    telemetry = document["paths"]["/api/v1/gpus/{uuid}/telemetry"]["get"]
    assert set(gpus["responses"]) == {
        "200",
        "304",
        "400",
        "401",
        "403",
        "406",
        "429",
        "503",
        "default",
    }
    assert set(telemetry["responses"]) == {*gpus["responses"], "404"}


def test_the_telemetry_parameters_are_documented(document: dict[str, Any]) -> None:
    telemetry = document["paths"]["/api/v1/gpus/{uuid}/telemetry"]["get"]
    found = {(given["in"], given["name"]): given for given in telemetry["parameters"]}
    assert next(iter(found)) == ("path", "uuid")
    assert {name for place, name in found if place == "query"} == {
        "GPU_I_ID",
        "GPU_I_PROFILE",
        "start_time",
        "end_time",
        "metric",
        "order",
        "limit",
        "cursor",
        "step",
        "agg",
        "fill",
        "format",
    }
    assert found["query", "start_time"]["schema"]["format"] == "date-time"
    assert all(given["description"] for given in found.values())


def securities(document: dict[str, Any]) -> set[str]:
    """What the operations that show or take telemetry require."""
    return {
        json.dumps(operation.get("security"))
        for path, _, operation in operations(document)
        if path.startswith(("/api/", "/prometheus/"))
    }


def test_the_document_of_a_server_without_tokens_knows_of_none(app: web.Application) -> None:
    document = build_document(app, guarded=False)
    validate(document)
    assert securities(document) == {"null"}
    assert "securitySchemes" not in document["components"]
    assert not any("401" in operation["responses"] for *_, operation in operations(document))
    refusals = document["paths"]["/api/v1/gpus"]["get"]["responses"]
    assert "token" not in json.dumps(refusals)
    assert {"403", "429"} <= refusals.keys()


def test_the_document_of_a_server_with_tokens_requires_one(app: web.Application) -> None:
    document = build_document(app, guarded=True)
    validate(document)
    assert securities(document) == {'[{"token": []}]'}
    assert "security" not in document["paths"]["/healthz"]["get"]


def test_the_document_for_every_server_leaves_the_token_open(document: dict[str, Any]) -> None:
    assert securities(document) == {'[{"token": []}, {}]'}


def test_two_applications_in_one_process_give_the_same_document(
    document: dict[str, Any],
) -> None:
    before = copy.deepcopy(document)
    assert build_app(None, Health())[DOCUMENT]() == before
    assert document == before


def test_the_kept_document_is_what_the_code_gives(document: dict[str, Any]) -> None:
    assert json.loads(KEPT.read_text("utf-8")) == document, "stale: run `make openapi`"


def test_the_command_prints_the_document(document: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gputel", "openapi"], capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == document
    assert done.stdout == KEPT.read_bytes()
