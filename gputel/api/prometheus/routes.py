"""``/prometheus/api/v1/*``: the part of Prometheus' HTTP API that Grafana asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from gputel.api.prometheus import asks, status
from gputel.api.prometheus import documented as documents
from gputel.api.prometheus.asks import PROMETHEUS
from gputel.api.prometheus.params import parameters
from gputel.api.shared.paths import PROMETHEUS_PATH
from gputel.api.shared.time_limit import within


def _handler(ask: asks.Ask) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        given, prometheus = await parameters(request), request.app[PROMETHEUS]
        answer = ask(prometheus, given, request)
        body = await within(prometheus.timeout_s(given), request, answer)
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
_DISCOVERY = "As Prometheus answers it, so that Grafana can complete names and fill variables."
_NONE = "gputel has none, and answers as a Prometheus that has none, so that Grafana is content."
_SERVER = "What Prometheus tells of itself, as far as it has a meaning here."
_OBJECT = {"type": "object"}
_LIST: documents.Described = {"type": "array", "items": {}}
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
    may_be_empty: bool = False


_OPERATIONS = (
    Operation(
        "query",
        "query",
        asks.query,
        "Evaluate PromQL at one time",
        _PROMQL,
        (documents.QUERY, documents.TIME, documents.TIMEOUT),
        _RESULT,
        by_form=True,
    ),
    Operation(
        "query_range",
        "query_range",
        asks.query_range,
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
        "The expression, split over lines where it is long.",
        (documents.QUERY,),
        {"type": "string"},
        by_form=True,
    ),
    *(
        Operation(path, path.replace("/", "_"), ask, summary, description, parameters, data)
        for path, ask, summary, description, parameters, data in (
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
            ("targets", status.targets, "List targets: there are none", _NONE, (), _OBJECT),
            (
                "targets/metadata",
                status.target_metadata,
                "Describe metrics of targets: there are none",
                _NONE,
                (documents.LIMIT,),
                _LIST,
            ),
            ("scrape_pools", status.scrape_pools, "List scrape pools: none", _NONE, (), _OBJECT),
            ("status/config", status.config, "Tell the intervals", _SERVER, (), _OBJECT),
            ("status/flags", status.flags, "Tell the limits of queries", _SERVER, (), _OBJECT),
            ("status/runtimeinfo", status.runtimeinfo, "Tell of the process", _SERVER, (), _OBJECT),
            ("status/tsdb", status.tsdb, "Count series by labels", _SERVER, (), _OBJECT),
            ("status/walreplay", status.walreplay, "Tell of a replay: none", _SERVER, (), _OBJECT),
        )
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
    """Add Prometheus' API, documented, under its path."""
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
                may_be_empty=each.may_be_empty,
            )(handler)
            app.router.add_route(method, f"{PROMETHEUS_PATH}/{each.path}", handler)
