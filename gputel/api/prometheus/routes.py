"""``/prometheus/api/v1/*``: the part of Prometheus' HTTP API that Grafana uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from gputel.api.prometheus import documented as documents
from gputel.api.prometheus import endpoints, status, targets
from gputel.api.prometheus.endpoints import PROMETHEUS
from gputel.api.prometheus.params import parameters
from gputel.api.shared.paths import PROMETHEUS_PATH
from gputel.api.shared.time_limit import within


def _handler(
    endpoint: endpoints.Endpoint,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        values, prometheus = await parameters(request), request.app[PROMETHEUS]
        answer = endpoint(prometheus, values, request)
        body = await within(prometheus.timeout_s(values), request, answer)
        if not body:
            return web.Response(status=204)
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
_PROMQL = "PromQL as Prometheus 2.42 answers it: docs/prometheus.md says what differs."
_DISCOVERY = (
    "The same answer as from Prometheus, so that Grafana can complete names and fill variables."
)
_NONE = "gputel has none, and answers like a Prometheus that has none, because Grafana asks."
_SERVER = "What Prometheus reports about itself, as far as it has a meaning here."
_TARGETS = "The same answer as from `/api/v1/targets`."
_OBJECT = {"type": "object"}
_LIST: documents.Described = {"type": "array", "items": {}}
_RANGE = (documents.START, documents.END)
_MATCHING = (documents.MATCH, *_RANGE)


class Operation(NamedTuple):
    """One path of the API."""

    path: str
    name: str
    endpoint: endpoints.Endpoint
    summary: str
    description: str
    parameters: tuple[documents.Described, ...]
    data: documents.Described
    by_form: bool = False
    may_be_empty: bool = False


_OPERATIONS = (
    Operation(
        "query",
        "query",
        endpoints.query,
        "Evaluate PromQL at one time",
        _PROMQL,
        (documents.QUERY, documents.TIME, documents.TIMEOUT),
        _RESULT,
        by_form=True,
    ),
    Operation(
        "query_range",
        "query_range",
        endpoints.query_range,
        "Evaluate PromQL at steps from one time to another",
        _PROMQL,
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
        endpoints.series,
        "List the matching series",
        _DISCOVERY,
        ({**documents.MATCH, "required": True}, *_RANGE),
        _LABEL_SETS,
        by_form=True,
    ),
    Operation(
        "labels",
        "labels",
        endpoints.labels,
        "List the names of labels",
        _DISCOVERY,
        _MATCHING,
        _TEXTS,
        by_form=True,
    ),
    Operation(
        "label/{name}/values",
        "label_values",
        endpoints.label_values,
        "List the values of a label",
        _DISCOVERY,
        (documents.LABEL, *_MATCHING),
        _TEXTS,
    ),
    Operation(
        "metadata",
        "metadata",
        endpoints.metadata,
        "Describe the metrics",
        _DISCOVERY,
        (documents.METRIC, documents.LIMIT),
        {"type": "object", "additionalProperties": {"type": "array", "items": {}}},
    ),
    Operation(
        "query_exemplars",
        "query_exemplars",
        status.exemplars,
        "List exemplars: there are none",
        _NONE,
        (documents.QUERY, *_RANGE),
        _LIST,
        by_form=True,
        may_be_empty=True,
    ),
    Operation(
        "format_query",
        "format_query",
        status.format_query,
        "Write PromQL in Prometheus' layout",
        "The expression, in several lines if it is long.",
        (documents.QUERY,),
        {"type": "string"},
        by_form=True,
    ),
    *(
        Operation(path, path.replace("/", "_"), endpoint, summary, description, parameters, data)
        for path, endpoint, summary, description, parameters, data in (
            (
                "rules",
                status.rules,
                "List rules: there are none",
                _NONE,
                (documents.TYPE,),
                _OBJECT,
            ),
            ("alerts", status.alerts, "List alerts: there are none", _NONE, (), _OBJECT),
            ("alertmanagers", status.alertmanagers, "List alertmanagers: none", _NONE, (), _OBJECT),
            (
                "targets",
                targets.targets,
                "List the targets of scrapes",
                _TARGETS,
                (documents.STATE, documents.SCRAPE_POOL),
                _OBJECT,
            ),
            (
                "targets/metadata",
                status.target_metadata,
                "Describe metrics of targets: there are none",
                _NONE,
                (documents.LIMIT,),
                _LIST,
            ),
            ("scrape_pools", targets.scrape_pools, "List the jobs", _DISCOVERY, (), _OBJECT),
            ("status/config", status.config, "Show the intervals", _SERVER, (), _OBJECT),
            ("status/flags", status.flags, "Show the limits of queries", _SERVER, (), _OBJECT),
            (
                "status/runtimeinfo",
                status.runtimeinfo,
                "Show data of the process",
                _SERVER,
                (),
                _OBJECT,
            ),
            ("status/tsdb", status.tsdb, "Count series by labels", _SERVER, (), _OBJECT),
            (
                "status/walreplay",
                status.walreplay,
                "Show a replay: there is none",
                _SERVER,
                (),
                _OBJECT,
            ),
        )
    ),
    Operation(
        "status/buildinfo",
        "buildinfo",
        endpoints.buildinfo,
        "Show the release of Prometheus whose answers these are",
        _DISCOVERY,
        (),
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
)


def add_prometheus_routes(app: web.Application) -> None:
    """Add Prometheus' API, documented, under its path."""
    for each in _OPERATIONS:
        for method in ("GET", "POST") if each.by_form else ("GET",):
            form = method == "POST"
            handler = _handler(each.endpoint)
            documents.documented(
                f"prometheus_{each.name}{'_by_form' if form else ''}",
                each.summary,
                each.description,
                each.parameters,
                each.data,
                form=form,
                may_be_empty=each.may_be_empty,
            )(handler)
            app.router.add_route(method, f"{PROMETHEUS_PATH}/{each.path}", handler)
