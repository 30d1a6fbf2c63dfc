"""``GET /api/v1/gpus`` and ``/api/v1/gpus/{uuid}``: the GPUs that have telemetry."""

from __future__ import annotations

import msgspec
from aiohttp import web
from marshmallow import Schema, fields

from gputel.api.formats.answer import answer_rows
from gputel.api.prometheus.labels import prometheus_labels
from gputel.api.shared.documented import answer, errors, listed, operation, path, query
from gputel.api.shared.filters import SeenGpuFilters, selection
from gputel.api.shared.keys import LIMITS, READER, VIEWS
from gputel.api.shared.nearest import unknown_gpu
from gputel.api.shared.schemas import GpuPath, GpuSchema, described, label_fields
from gputel.model.dcgm_fields import field
from gputel.model.names import PARSED_COLUMNS
from gputel.promql.values.labels import NAME
from gputel.store.read.inventory import newest_of_metrics, newest_series
from gputel.store.read.selection import of_gpu

_OF_INSTANCE = ("GPU_I_ID", "GPU_I_PROFILE", "pod", "namespace", "container")
_METRIC = "DCGM_FI_DEV_GPU_TEMP"
_TIME = "2025-07-18T20:42:36Z"


class NewestSchema(Schema):
    """The newest value of a metric."""

    metric_name = fields.String(
        required=True, metadata=described("The name of the metric.", _METRIC)
    )
    locals().update(label_fields(PARSED_COLUMNS))
    value = fields.Float(
        required=True,
        allow_nan=True,
        allow_none=True,
        metadata=described("The reading; null if it was not a finite number.", 41),
    )
    timestamp = fields.DateTime(
        required=True, metadata=described("The time of the reading, UTC.", _TIME)
    )
    age_s = fields.Float(
        required=True,
        metadata=described("Seconds since then; below 0 if the clock of the host is ahead.", 4.217),
    )
    unit = fields.String(
        required=True,
        metadata=described("The unit of the value; '' if it has none or is unknown.", "C"),
    )


class GpuDetailSchema(GpuSchema):
    """One GPU with its labels and newest values."""

    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described(
            "The labels of its newest record, without the metric, as dcgm-exporter names them. "
            "Of a GPU in MIG instances, without those that belong to one of them, such as the pod.",
            {"UUID": "GPU-5fd4f087-86f3-7a43-b711-4771313afc50", "gpu": "0"},
        ),
    )
    metrics = fields.List(
        fields.Nested(NewestSchema),
        required=True,
        metadata=described(
            "The newest record of each metric, and of each MIG instance of it, in the last 24 "
            "hours of the GPU."
        ),
    )


@operation(
    "list_gpus",
    "telemetry",
    "List the GPUs",
    "Every GPU that has telemetry, ordered by uuid. A GPU whose labels have changed (another host, "
    "another pod) is one object with its latest labels, and the filters apply to these.",
)
@query(SeenGpuFilters)
@listed(GpuSchema, "The GPUs; an empty list if there are none.")
@errors(400, 406, 503)
async def list_gpus(request: web.Request) -> web.Response:
    """Answer the GPUs that match the filters."""
    parameters, app = request["querystring"], request.app
    gpus = app[READER].gpus(selection(parameters), parameters.get("seen_since"), app[LIMITS])
    return await answer_rows(request, gpus, GpuSchema)


@operation(
    "get_gpu",
    "telemetry",
    "Read a GPU",
    "Its identity, all labels of its newest record, and the newest value of each metric in the "
    "last 24 hours of the GPU.",
)
@path(GpuPath)
@query()
@answer(GpuDetailSchema(), 200, "The GPU.")
@errors(400, 404, 503)
async def get_gpu(request: web.Request) -> web.Response:
    """Answer one GPU."""
    reader, uuid = request.app[READER], request["match_info"]["uuid"]
    gpus, series = await reader.gpus(of_gpu(uuid)), await newest_series(reader, uuid)
    if not gpus or series is None:
        raise await unknown_gpu(reader, uuid)
    body = msgspec.to_builtins(gpus[0], builtin_types=())
    labels = dict(prometheus_labels(series))
    hidden = {NAME, *(_OF_INSTANCE if "GPU_I_ID" in labels else ())}
    body["labels"] = {name: text for name, text in labels.items() if name not in hidden}
    body["metrics"] = [
        {
            "metric_name": record.metric_name,
            **{column.api: getattr(record, column.name) for column in PARSED_COLUMNS},
            "value": record.value,
            "timestamp": record.timestamp,
            "age_s": record.age_s,
            "unit": field(record.metric_name).unit,
        }
        for record in await newest_of_metrics(request.app[VIEWS], gpus[0], request.app[LIMITS])
    ]
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
