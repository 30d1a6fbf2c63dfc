"""Documentation of the handlers of Prometheus' API: parameters, and the form of all answers.

Unknown parameters are ignored, as by Prometheus: Grafana sends more than the API has. So the
parameters are described here and not checked by a schema.
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
    422: "The expression fails on these series, or it is over a limit; `execution`.",
    503: "Postgres is not available, `unavailable`, or the query took too long, `timeout`.",
}


_WARNINGS = {
    "type": "array",
    "items": {"type": "string"},
    "description": "What the answer leaves out, and why. Absent if there is nothing to say.",
}


class PrometheusErrorSchema(Schema):
    """Why Prometheus' API refused a request."""

    status = fields.String(required=True, metadata=described("Always `error`.", "error"))
    errorType = fields.String(
        required=True, metadata=described("The kind of error, for programs.", "bad_data")
    )
    error = fields.String(
        required=True, metadata=described("A line for people: what is wrong, and what to do.")
    )


_ERROR = PrometheusErrorSchema()  # making one takes 3 ms, and each route has several


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
TIME = parameter(
    "time", "The time; Unix seconds or RFC 3339. Default: now.", "2025-07-18T20:42:34Z"
)
START = parameter("start", "The first time; Unix seconds or RFC 3339.", "2025-07-18T20:00:00Z")
END = parameter("end", "The last time, inclusive.", "2025-07-18T21:00:00Z")
STEP = parameter(
    "step", "The span between two times: seconds, or like `30s`.", "30s", required=True
)
TIMEOUT = parameter("timeout", "The time limit; at most `--query-timeout-s`.", "10s")
MATCH = parameter("match[]", "A series selector.", "DCGM_FI_DEV_GPU_UTIL") | {
    "schema": {"type": "array", "items": {"type": "string"}},
    "example": ["DCGM_FI_DEV_GPU_UTIL"],
    "description": "Series selectors; repeatable.",
}
METRIC = parameter("metric", "Only this metric.", "DCGM_FI_DEV_GPU_UTIL")
LIMIT = parameter("limit", "The most entries of the answer.", "100")
STATE = parameter(
    "state", "`active`, `dropped` or `any`. Default: any. gputel knows no dropped ones.", "active"
)
SCRAPE_POOL = parameter("scrapePool", "Only targets of this job.", "dcgm")
TYPE = parameter("type", "`alert` or `record`.", "alert")
LABEL = parameter("name", "The name of the label.", "Hostname", required=True) | {"in": "path"}


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
    """Describe a handler whose parameters are in the query, or with ``form`` in a form."""

    def decorate(handler: Handler) -> Handler:
        operation(operation_id, "prometheus", summary, description)(handler)
        inside = [each for each in parameters if not form or each["in"] == "path"]
        documentation: Described = {"parameters": inside, "responses": _responses(data)}
        if may_be_empty:
            documentation["responses"]["204"] = {"description": "The expression reads no series."}
        if form:
            documentation["requestBody"] = _form(parameters)
        docs(produces=["application/json"], **documentation)(handler)
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
        "properties": {"status": {"type": "string", "enum": ["success"]}, "data": data}
        | {"warnings": _WARNINGS},
    }
    responses: Described = {"200": {"description": "The answer.", "schema": success}}
    for status, description in _REFUSALS.items():
        responses[str(status)] = {"description": description, "schema": _ERROR}
    responses["default"] = {"description": "Any other refusal.", "schema": _ERROR}
    return responses
