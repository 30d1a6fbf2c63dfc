"""The endpoints of Prometheus' API about the server itself; no rules, alerts, exemplars.

Grafana and other clients ask for these, and expect an empty answer from a server that has none.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gputel.api.prometheus import json as answers
from gputel.api.prometheus.endpoints import Endpoint, Prometheus
from gputel.api.prometheus.params import EVER_US, Parameters
from gputel.errors import BadExpression
from gputel.promql.reach import selectors
from gputel.promql.syntax.nodes import Node
from gputel.promql.syntax.parse import may_be_slow, parse, parse_selector
from gputel.promql.syntax.pretty import pretty
from gputel.promql.values.labels import NAME
from gputel.threads import EVALUATION, READING
from gputel.times import rfc3339

_STARTED = datetime.now(UTC)
_MOST_LISTED = 10
_YAML = "global:\n  scrape_interval: 1m\n  scrape_timeout: 10s\n  evaluation_interval: 1m\n"


def constant(data: Any) -> Endpoint:
    """An answer that is always the same."""
    body = answers.success(data)

    async def ask(_prometheus: Prometheus, _parameters: Parameters, _request: web.Request) -> bytes:
        return body

    return ask


alerts = constant({"alerts": []})
alertmanagers = constant({"activeAlertmanagers": [], "droppedAlertmanagers": []})
walreplay = constant({"min": 0, "max": 0, "current": 0})
config = constant({"yaml": _YAML})


async def rules(_prometheus: Prometheus, parameters: Parameters, _request: web.Request) -> bytes:
    """No groups of rules."""
    kind = (parameters.texts("type") or [""])[0].lower()
    if kind not in ("", "alert", "record"):
        raise BadExpression(f'invalid parameter "type": not supported value "{kind}"')
    return answers.success({"groups": []})


async def target_metadata(
    _prometheus: Prometheus, parameters: Parameters, _request: web.Request
) -> bytes:
    """No metadata of targets."""
    parameters.integer("limit")
    if match := (parameters.texts("match_target") or [""])[0]:
        parse_selector(match)
    return answers.success([])


async def exemplars(
    _prometheus: Prometheus, parameters: Parameters, _request: web.Request
) -> bytes:
    """No exemplars, for a valid expression; an empty body if it reads no series."""
    first, last = parameters.moment("start", -EVER_US), parameters.moment("end", EVER_US)
    if last < first:
        raise BadExpression("end timestamp must not be before start timestamp")
    node = await _expression(parameters)
    return answers.success([]) if next(selectors(node), None) else b""


async def format_query(
    _prometheus: Prometheus, parameters: Parameters, _request: web.Request
) -> bytes:
    """The expression in Prometheus' layout."""
    node = await _expression(parameters)
    return answers.success(await READING.run_if(True, pretty, node))


async def _expression(parameters: Parameters) -> Node:
    text = parameters.text("query")
    return await READING.run_if(may_be_slow(text), parse, text)


async def runtimeinfo(
    _prometheus: Prometheus, _parameters: Parameters, _request: web.Request
) -> bytes:
    """The start time of the process, and the number of processors."""
    started = rfc3339(_STARTED.replace(microsecond=0))
    return answers.success(
        {
            "startTime": started,
            "CWD": "",
            "reloadConfigSuccess": True,
            "lastConfigTime": started,
            "corruptionCount": 0,
            "goroutineCount": len(sys._current_frames()),
            "GOMAXPROCS": os.cpu_count() or 1,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": "",
        }
    )


async def flags(prometheus: Prometheus, _parameters: Parameters, _request: web.Request) -> bytes:
    """The limits of queries, by the names of the flags of Prometheus."""
    return answers.success(
        {
            "query.lookback-delta": "5m",
            "query.max-concurrency": str(EVALUATION.most),
            "query.max-samples": str(prometheus.limits.max_samples),
            "query.timeout": f"{prometheus.most_s:g}s",
        }
    )


async def tsdb(prometheus: Prometheus, _parameters: Parameters, _request: web.Request) -> bytes:
    """The number of series by metric and by label; the ten largest of each."""
    count, pairs = await prometheus.source.pairs()
    metrics = {value: number for (name, value), number in pairs.items() if name == NAME}
    names: Counter[str] = Counter(name for name, _ in pairs)
    sizes: Counter[str] = Counter()
    for (name, value), number in pairs.items():
        sizes[name] += len(value.encode()) * number
    now_ms = time.time_ns() // 1_000_000
    return answers.success(
        {
            "headStats": {
                "numSeries": count,
                "numLabelPairs": len(pairs),
                "chunkCount": 0,
                "minTime": 0,
                "maxTime": now_ms,
            },
            "seriesCountByMetricName": _listed(metrics),
            "labelValueCountByLabelName": _listed(names),
            "memoryInBytesByLabelName": _listed(sizes),
            "seriesCountByLabelValuePair": _listed(
                {f"{name}={value}": number for (name, value), number in pairs.items()}
            ),
        }
    )


def _listed(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_LISTED]
    return [{"name": name, "value": count} for name, count in largest]
