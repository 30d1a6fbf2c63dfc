"""The OpenAPI 3.0.3 document of an application, from the records of aiohttp-apispec's decorators.

The decorators leave ``__apispec__`` on each handler: parameters, request schemas with their
location, responses by status, and the arguments of ``docs``. This module reads it and never writes
it, so that several applications in one process give the same document.

Format: https://spec.openapis.org/oas/v3.0.3
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin, resolver

from gputel import __version__
from gputel.api.formats.format import Format
from gputel.api.push.senders.otlp_answers import PROTOBUF
from gputel.api.shared.access import scope_of
from gputel.api.shared.documented import LISTS
from gputel.api.shared.paths import NEVER_429
from gputel.web.access.tokens import Scope

JSON = "application/json"
# A schema of JSON describes no other format.
_OTHER_SCHEMAS = {
    each.media_type: {"type": "string"} | ({} if each.is_text else {"format": "binary"})
    for each in Format
    if each is not Format.JSON
} | {PROTOBUF: {"type": "string", "format": "binary"}}
_LOCATIONS = {
    "querystring": "query",
    "query": "query",
    "match_info": "path",
    "path": "path",
    "headers": "header",
    "cookies": "cookie",
}
_COPIED = ("operationId", "tags", "summary", "description", "deprecated", "security", "requestBody")
_TAGS = [
    {"name": "telemetry", "description": "GPUs and their telemetry."},
    {"name": "prometheus", "description": "The part of Prometheus' API that Grafana uses."},
    {"name": "service", "description": "The state of this process."},
]
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of the server's `--token-file` or `--tokens`. Without them, a server "
    "needs none.",
}
_WITH_TOKEN = {
    "401": "The request has no token although the server needs one, or an unknown token.",
    "403": "The token lacks the scope `{scope}`. With the code `host_not_allowed` or `cross_site`, "
    "the request may come from a web page of another site.",
}
_WITHOUT_TOKEN = {
    "403": "The request may come from a web page of another site: the code is `host_not_allowed` "
    "or `cross_site`.",
}
_TOO_MANY = {
    "429": "The client sends too many requests: try again after `Retry-After` seconds.",
}
_DESCRIPTION = (
    "GPU telemetry that gputel collected. Times are RFC 3339; a `+` in a query may also be written "
    "as `%2B`. Every refusal is a JSON object with a `code` for programs and a `message` for "
    "people. Under `/prometheus`, refusals have the form that Prometheus uses."
)


def build_document(app: web.Application, guarded: bool | None = None) -> dict[str, Any]:
    """The document of every documented route of ``app``, ready for JSON.

    ``guarded`` is whether the server needs a token. None: the document is for servers that do and
    servers that do not.
    """
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec(
        title="gputel API",
        version=__version__,
        openapi_version="3.0.3",
        plugins=[plugin],
        info={
            "description": _DESCRIPTION,
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        servers=[{"url": "/", "description": "The server that this document came from."}],
        tags=_TAGS,
    )
    if guarded is not False:
        spec.components.security_scheme("token", _TOKEN)
    for path, method, recorded in documented_routes(app):
        operation = _operation(recorded, plugin, scope_of(method.upper(), path), guarded)
        if path in NEVER_429:
            operation["responses"].pop("429", None)
        spec.path(path=path, operations={method: operation})
    document: dict[str, Any] = spec.to_dict()
    return document


def documented_routes(app: web.Application) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path template, method and documentation of each route. HEAD is left out: it follows GET."""
    for route in app.router.routes():
        recorded = getattr(route.handler, "__apispec__", None)
        if recorded is not None and route.method != "HEAD" and route.resource is not None:
            yield route.resource.canonical, route.method.lower(), recorded


def _schema_name(schema: Any) -> str:
    name: str = resolver(schema)
    return name


def _operation(
    recorded: Mapping[str, Any],
    plugin: MarshmallowPlugin,
    scope: Scope | None,
    guarded: bool | None,
) -> dict[str, Any]:
    assert plugin.converter is not None  # the plugin has one since it is part of a document
    operation = {key: copy.deepcopy(recorded[key]) for key in _COPIED if key in recorded}
    parameters = list(recorded["parameters"])
    for entry in recorded["schemas"]:
        if entry["location"] in _LOCATIONS:
            parameters += plugin.converter.schema2parameters(
                entry["schema"], location=_LOCATIONS[entry["location"]]
            )
        else:
            operation["requestBody"] = {
                "required": True,
                "content": {JSON: {"schema": entry["schema"]}},
            }
    if parameters:
        operation["parameters"] = sorted(parameters, key=lambda each: each["in"] != "path")
    media_types = (
        [each.media_type for each in Format] if LISTS in recorded else recorded["produces"]
    )
    responses = dict(recorded["responses"])
    if scope is not None:
        if guarded is not False:
            operation["security"] = [{"token": []}] if guarded else [{"token": []}, {}]
        refusals = _WITHOUT_TOKEN if guarded is False else _WITH_TOKEN
        for status, meaning in {**refusals, **_TOO_MANY}.items():
            described = meaning.format(scope=scope)
            schema = responses["default"]["schema"]  # all refusals of an operation have one schema
            responses[status] = {"description": described, "schema": schema}
    operation["responses"] = {
        status: _response(status, response, media_types)
        for status, response in sorted(responses.items())
    }
    return operation


def _response(
    status: str, response: Mapping[str, Any], media_types: Sequence[str]
) -> dict[str, Any]:
    described: dict[str, Any] = {"description": response["description"]}
    if "schema" in response and status not in ("204", "304"):
        answered = media_types if status.startswith("2") or PROTOBUF in media_types else [JSON]
        described["content"] = {
            media_type: {"schema": _OTHER_SCHEMAS.get(media_type, response["schema"])}
            for media_type in answered
        }
    return described
