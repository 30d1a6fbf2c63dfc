"""``GET /api/v1/metrics``: the metrics, what they measure, and how many records they have."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from marshmallow import Schema, fields

from gputel.api.formats.answer import answer_rows
from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.schemas import FormatQuery, described
from gputel.model.dcgm_fields import field
from gputel.model.meanings import MEANING_OF
from gputel.store.limits import Limits
from gputel.store.read.inventory import metrics
from gputel.store.read.reader import Reader

_METRIC = "DCGM_FI_DEV_GPU_TEMP"
_TIME = "2025-07-18T20:42:36Z"


class MetricSchema(Schema):
    """A metric, what it measures, and how many records it has."""

    metric_name = fields.String(required=True, metadata=described("Its name.", _METRIC))
    unit = fields.String(
        required=True,
        metadata=described("The unit of its values; '' if it has none or is unknown.", "C"),
    )
    help = fields.String(
        required=True,
        metadata=described("What it measures; '' if unknown.", "Temperature of the GPU."),
    )
    type = fields.String(
        required=True,
        metadata=described("How its values behave.", "gauge", enum=["gauge", "counter", "unknown"]),
    )
    meaning = fields.String(
        required=True,
        metadata=described(
            "The meaning that PromQL answers for this name and those of other releases, in one "
            "unit; '' if it has none.",
            "gputel:gpu_temperature_celsius",
        ),
    )
    series = fields.Integer(
        required=True, metadata=described("The number of series of this metric.", 247)
    )
    samples = fields.Integer(
        required=True, metadata=described("The number of its records.", 988000)
    )
    first_seen = fields.DateTime(
        required=True, metadata=described("The time of its oldest block of records.", _TIME)
    )
    last_seen = fields.DateTime(
        required=True, metadata=described("The time of its newest record.", _TIME)
    )
    min = fields.Float(
        required=True,
        allow_none=True,
        metadata=described(
            "The smallest value in the newest 7 days of hourly rollups; null without rollups.",
            21,
        ),
    )
    max = fields.Float(
        required=True,
        allow_none=True,
        metadata=described("The largest value in the same 7 days.", 89),
    )


@operation(
    "list_metrics",
    "telemetry",
    "List the metrics",
    "Every metric that has records, ordered by name. `unit`, `help` and `type` are known for the "
    "fields of DCGM. `min` and `max` come from hourly rollups, which may lack the newest hours.",
)
@query(FormatQuery)
@listed(MetricSchema, "The metrics; an empty list if there are none.")
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
        meaning = MEANING_OF.get(metric.metric_name)
        about = {"unit": known.unit, "help": known.help, "type": known.kind}
        about["meaning"] = "" if meaning is None else meaning.name
        rows.append({"metric_name": metric.metric_name, **about, **msgspec.structs.asdict(metric)})
    return rows
