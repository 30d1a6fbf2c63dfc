"""``GET /api/v1/metrics``: the metrics, what they measure and what is kept of them."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gputel.api.formats.answer import answer_rows
from gputel.api.inventory.schemas import MetricSchema
from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.schemas import FormatQuery
from gputel.model.dcgm_fields import field
from gputel.store.limits import Limits
from gputel.store.read.inventory import metrics
from gputel.store.read.reader import Reader


@operation(
    "list_metrics",
    "telemetry",
    "List the metrics",
    "Every metric that has records, ordered by name. `unit`, `help` and `type` are known of the "
    "fields of DCGM. `min` and `max` come from hourly rollups, so that the newest hours may be "
    "missing from them.",
)
@query(FormatQuery)
@listed(MetricSchema, "The metrics; an empty list if none.")
@errors(400, 406, 503)
async def list_metrics(request: web.Request) -> web.Response:
    """Answer every metric."""
    return await answer_rows(
        request, _described(request.app[READER], request.app[LIMITS]), MetricSchema
    )


async def _described(reader: Reader, limits: Limits) -> list[dict[str, Any]]:
    rows = []
    for metric in await metrics(reader, limits):
        known = field(metric.metric_name)
        about = {"unit": known.unit, "help": known.help, "type": known.kind}
        rows.append({"metric_name": metric.metric_name, **about, **msgspec.structs.asdict(metric)})
    return rows
