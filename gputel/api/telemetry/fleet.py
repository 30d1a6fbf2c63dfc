"""``GET /api/v1/telemetry``: the records of all GPUs, or of those that filters leave, streamed."""

from __future__ import annotations

from aiohttp import web

from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.filters import selection
from gputel.api.telemetry.answer import answer_telemetry
from gputel.api.telemetry.schemas import FleetRecordSchema, FleetTelemetryQuery


@operation(
    "list_telemetry",
    "telemetry",
    "Read telemetry across GPUs",
    "Records of every GPU that the filters leave, as `/api/v1/gpus/{uuid}/telemetry` gives those "
    "of one. With `group_by`, one record for each group of series and span: `timestamp`, "
    "`metric_name`, the labels it is grouped by, and `value`. Percentiles and averages are of all "
    "records of the group; `rate` is the sum of the rates of its series.",
)
@query(FleetTelemetryQuery)
@listed(FleetRecordSchema, "The records; an empty list if none.")
@errors(400, 406, 503)
async def list_telemetry(request: web.Request) -> web.StreamResponse:
    """Answer the records of many GPUs, in memory that does not grow with them."""
    return await answer_telemetry(request, selection(request["querystring"]))
