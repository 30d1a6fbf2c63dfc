"""``/prometheus/api/v1/*``: the part of Prometheus' HTTP API that Grafana asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from gputel.api import prometheus_asks as asks
from gputel.api import prometheus_documented as documents
from gputel.api.keys import PROMETHEUS
from gputel.api.prometheus_params import parameters
from gputel.api.prometheus_refusals import ROOT
from gputel.api.time_limit import within

PREFIX = f"{ROOT}/api/v1"


def _handler(ask: asks.Ask) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        given, prometheus = await parameters(request), request.app[PROMETHEUS]
        answer = ask(prometheus, given, request)
        body = await within(prometheus.timeout_s(given), request, answer)
        return web.Response(body=body, content_type="application/json")

    return handler


_RESULT = {
    "type": "object",
    "required": ["resultType", "result"],
    "properties": {
        "resultType": {"type": "string", "enum": ["matrix", "vector", "scalar", "string"]},
        "result": {"type": "array", "items": {}},
    },
}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_LABEL_SETS = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": {"type": "string"}},
}
_SUBSET = "A subset of PromQL, for Grafana: docs/prometheus.md says what is in it and what differs."
_DISCOVERY = "As Prometheus answers it, so that Grafana can complete names and fill variables."
_RANGE = (documents.START, documents.END)
_MATCHING = (documents.MATCH, *_RANGE)


class Operation(NamedTuple):
    """One path of the API."""

    path: str
    name: str
    ask: asks.Ask
    summary: str
    description: str
    parameters: tuple[documents.Described, ...]
    data: documents.Described
    by_form: bool = False


_OPERATIONS = (
    Operation(
        "query",
        "query",
        asks.query,
        "Evaluate PromQL at one time",
        _SUBSET,
        (documents.QUERY, documents.TIME, documents.TIMEOUT),
        _RESULT,
        by_form=True,
    ),
    Operation(
        "query_range",
        "query_range",
        asks.query_range,
        "Evaluate PromQL at steps from one time to another",
        _SUBSET,
        (
            documents.QUERY,
            *({**each, "required": True} for each in _RANGE),
            documents.STEP,
            documents.TIMEOUT,
        ),
        _RESULT,
        by_form=True,
    ),
    Operation(
        "series",
        "series",
        asks.series,
        "List the series that match",
        _DISCOVERY,
        ({**documents.MATCH, "required": True}, *_RANGE),
        _LABEL_SETS,
        by_form=True,
    ),
    Operation(
        "labels",
        "labels",
        asks.labels,
        "List the names of labels",
        _DISCOVERY,
        _MATCHING,
        _TEXTS,
        by_form=True,
    ),
    Operation(
        "label/{name}/values",
        "label_values",
        asks.label_values,
        "List the values of a label",
        _DISCOVERY,
        (documents.LABEL, *_MATCHING),
        _TEXTS,
    ),
    Operation(
        "metadata",
        "metadata",
        asks.metadata,
        "Describe the metrics",
        _DISCOVERY,
        (documents.METRIC,),
        {"type": "object", "additionalProperties": {"type": "array", "items": {}}},
    ),
    Operation(
        "status/buildinfo",
        "buildinfo",
        asks.buildinfo,
        "Tell the release of Prometheus that this stands for",
        _DISCOVERY,
        (),
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
)


def add_prometheus_routes(app: web.Application) -> None:
    """Add Prometheus' API, documented, under ROOT."""
    for each in _OPERATIONS:
        for method in ("GET", "POST") if each.by_form else ("GET",):
            form = method == "POST"
            handler = _handler(each.ask)
            documents.documented(
                f"prometheus_{each.name}{'_by_form' if form else ''}",
                each.summary,
                each.description,
                each.parameters,
                each.data,
                form=form,
            )(handler)
            app.router.add_route(method, f"{PREFIX}/{each.path}", handler)
