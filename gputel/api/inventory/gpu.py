"""``GET /api/v1/gpus/{uuid}``: one GPU, its labels and its newest values."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gputel.api.inventory.schemas import GpuDetailSchema
from gputel.api.prometheus.labels import prometheus_labels
from gputel.api.shared.documented import answer, errors, operation, path, query
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.nearest import unknown_gpu
from gputel.api.shared.schemas import GpuPath
from gputel.model.dcgm_fields import field
from gputel.promql.values.labels import NAME
from gputel.store.read.inventory import newest_of_metrics, newest_series
from gputel.store.read.selection import of_gpu


@operation(
    "get_gpu",
    "telemetry",
    "Read a GPU",
    "Its identity, all labels of its newest record, and the newest value of each metric that it "
    "had in its last day.",
)
@path(GpuPath)
@query()
@answer(GpuDetailSchema(), 200, "The GPU.")
@errors(400, 404, 503)
async def get_gpu(request: web.Request) -> web.Response:
    """Answer one GPU."""
    reader, uuid = request.app[READER], request["match_info"]["uuid"]
    found, series = await reader.gpus(of_gpu(uuid)), await newest_series(reader, uuid)
    if not found or series is None:
        raise await unknown_gpu(reader, uuid)
    body = msgspec.to_builtins(found[0], builtin_types=())
    body["labels"] = {name: text for name, text in prometheus_labels(series) if name != NAME}
    body["metrics"] = [
        {
            "metric_name": record.metric_name,
            "value": record.value,
            "timestamp": record.timestamp,
            "age_s": record.age_s,
            "unit": field(record.metric_name).unit,
        }
        for record in await newest_of_metrics(reader, found[0], request.app[LIMITS])
    ]
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
