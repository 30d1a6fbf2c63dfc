"""How the handlers of Prometheus' API are documented: its parameters, its one shape of answers.

Parameters are taken leniently, as Prometheus does: what is unknown is ignored, for Grafana sends
more than there is. So they are described here and not checked by a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiohttp_apispec import docs
from marshmallow import Schema, fields

from gputel.api.prometheus.form import FORM
from gputel.api.shared.documented import operation
from gputel.api.shared.schemas import described

Handler = TypeVar("Handler", bound=Callable[..., Any])
Described = dict[str, Any]

_REFUSALS = {
    400: "A parameter or the expression is wrong; `bad_data`.",
    422: "The series that there are do not allow it, or it is over a limit; `execution`.",
    503: "Postgres is away, `unavailable`, or the query took too long, `timeout`.",
}


class PrometheusErrorSchema(Schema):
    """Why Prometheus' API refused a request."""

    status = fields.String(required=True, metadata=described("Always `error`.", "error"))
    errorType = fields.String(required=True, metadata=described("A word for programs.", "bad_data"))
    error = fields.String(
        required=True, metadata=described("A line for people: what is wrong and what to do.")
    )


def parameter(name: str, description: str, example: str, *, required: bool = False) -> Described:
    """A parameter of the query, or a field of the form."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


QUERY = parameter(
    "query", "The PromQL expression.", "avg by (Hostname) (DCGM_FI_DEV_GPU_UTIL)", required=True
)
TIME = parameter("time", "When; Unix seconds or RFC 3339. Default: now.", "2025-07-18T20:42:34Z")
START = parameter("start", "The first time; Unix seconds or RFC 3339.", "2025-07-18T20:00:00Z")
END = parameter("end", "The last time, inclusive.", "2025-07-18T21:00:00Z")
STEP = parameter("step", "From one time to the next: seconds, or like `30s`.", "30s", required=True)
TIMEOUT = parameter("timeout", "Most time to take; no longer than `--query-timeout-s`.", "10s")
MATCH = parameter("match[]", "A series selector.", "DCGM_FI_DEV_GPU_UTIL") | {
    "schema": {"type": "array", "items": {"type": "string"}},
    "example": ["DCGM_FI_DEV_GPU_UTIL"],
    "description": "Series selectors; repeatable.",
}
METRIC = parameter("metric", "Only this metric.", "DCGM_FI_DEV_GPU_UTIL")
LIMIT = parameter("limit", "At most so many.", "100")
TYPE = parameter("type", "`alert` or `record`.", "alert")
LABEL = parameter("name", "The label's name.", "Hostname", required=True) | {"in": "path"}


def documented(
    operation_id: str,
    summary: str,
    description: str,
    parameters: Sequence[Described],
    data: Described,
    *,
    form: bool = False,
    may_be_empty: bool = False,
) -> Callable[[Handler], Handler]:
    """Describe a handler: parameters in the query, or with ``form`` in a form."""

    def decorate(handler: Handler) -> Handler:
        operation(operation_id, "prometheus", summary, description)(handler)
        inside = [each for each in parameters if not form or each["in"] == "path"]
        told: Described = {"parameters": inside, "responses": _responses(data)}
        if may_be_empty:
            told["responses"]["204"] = {"description": "There is nothing to look for."}
        if form:
            told["requestBody"] = _form(parameters)
        docs(produces=["application/json"], **told)(handler)
        return handler

    return decorate


def _form(parameters: Sequence[Described]) -> Described:
    schema = {
        "type": "object",
        "required": [each["name"] for each in parameters if each["required"]],
        "properties": {
            each["name"]: each["schema"]
            | {"description": each["description"], "example": each["example"]}
            for each in parameters
        },
    }
    if not schema["required"]:
        del schema["required"]
    return {"required": False, "content": {FORM: {"schema": schema}}}


def _responses(data: Described) -> Described:
    success = {
        "type": "object",
        "required": ["status", "data"],
        "properties": {"status": {"type": "string", "enum": ["success"]}, "data": data},
    }
    found: Described = {"200": {"description": "The answer.", "schema": success}}
    for status, description in _REFUSALS.items():
        found[str(status)] = {"description": description, "schema": PrometheusErrorSchema()}
    found["default"] = {"description": "Any other refusal.", "schema": PrometheusErrorSchema()}
    return found
