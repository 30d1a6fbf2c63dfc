"""``GET /api/v1/telemetry/top``: the GPUs or hosts with the largest values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from marshmallow import Schema, ValidationError, fields, validate

from gputel.api.formats.answer import answer_rows
from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.filters import GpuFilters, InstanceFilters, check_stored, selection
from gputel.api.shared.keys import LIMITS, READER, VIEWS
from gputel.api.shared.schemas import GpuSchema, RecordSchema, described
from gputel.api.telemetry.schemas import AggregateField, CountField, OrderField, TimeQuery
from gputel.store.read.reader import EARLIEST, LATEST, Reader
from gputel.store.read.selection import NO_TARGET
from gputel.store.read.telemetry import TelemetryQuery
from gputel.store.read.time_order import Order
from gputel.store.rollup.buckets import Aggregate
from gputel.store.steps.top import By, Ranked, gpus_called, ranking

_HOUR = timedelta(hours=1)


class MetricField(fields.String):
    """The name of one metric."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not value or "*" in value or "?" in value:
            raise ValidationError(
                f"{value!r} is not the name of one metric; write it like DCGM_FI_DEV_GPU_TEMP"
            )
        check_stored(value)
        return str(value)


class TopQuery(TimeQuery, GpuFilters, InstanceFilters):
    """What is ranked: the metric, the time, the aggregate."""

    metric = MetricField(
        required=True,
        error_messages={"required": "is missing; write it like metric=DCGM_FI_DEV_GPU_TEMP"},
        metadata=described(
            "The metric, without patterns: values of different metrics cannot be compared.",
            "DCGM_FI_DEV_GPU_TEMP",
            pattern="^[^*?]+$",
        ),
    )
    n = CountField("The most rows of the answer. Default: 10.", 10, 1000)
    agg = AggregateField(
        "The value that is compared: the average, smallest or largest of all records in the time, "
        "their number or a percentile; the `sum` of the GPUs of a host, each with its average, or "
        "a counter's newest value; `sum_over_time` of all records; or the `rate` of a counter. "
        "Default: avg.",
        but=(Aggregate.LAST,),
    )
    by = fields.String(
        validate=validate.OneOf(list(By), error=f"{{input!r}} is none of {', '.join(By)}"),
        metadata=described("Whether GPUs or hosts are ranked. Default: gpu.", "gpu"),
    )
    order = OrderField(
        metadata=described(
            "Largest first (desc) or smallest first (asc). Default: desc.",
            "desc",
            type="string",
            enum=[order.value for order in Order],
        )
    )


class HostRankSchema(Schema):
    """One host of a ranking."""

    rank = fields.Integer(required=True, metadata=described("The rank, from 1.", 1))
    hostname, metric_name, value = (
        RecordSchema._declared_fields[name] for name in ("hostname", "metric_name", "value")
    )


class RankSchema(Schema):
    """One GPU of a ranking with its latest labels, or one host."""

    rank = fields.Integer(required=True, metadata=described("The rank, from 1.", 1))
    uuid = fields.String(metadata=described("The unique id of the GPU; absent for a host."))
    hostname = GpuSchema._declared_fields["hostname"]
    modelName = fields.String(metadata=described("The model of the GPU; absent for a host."))
    gpu_id = fields.String(
        metadata=described("The index of the GPU on its host; absent for a host.")
    )
    metric_name, value = (RecordSchema._declared_fields[name] for name in ("metric_name", "value"))


@operation(
    "list_top",
    "telemetry",
    "Rank GPUs or hosts",
    "The GPUs or hosts with the largest (or smallest) value of a metric from `start_time` to "
    "`end_time`. The default is the ten largest averages of the last hour. Equal values are in "
    "order of name; values that are not numbers come last. Targets of scrapes are not ranked.",
)
@query(TopQuery)
@listed(RankSchema, "The ranking; an empty list if there are no records.")
@errors(400, 406, 503)
async def list_top(request: web.Request) -> web.Response:
    """Answer the ranking."""
    by = By(request["querystring"].get("by", By.GPU))
    schema = HostRankSchema if by is By.HOST else RankSchema
    return await answer_rows(request, _rows(request, by), schema)


async def _rows(request: web.Request, by: By) -> list[dict[str, Any]]:
    parameters, reader = request["querystring"], request.app[READER]
    end = parameters.get("end_time", LATEST)
    since = max(min(end, datetime.now(UTC)), EARLIEST + _HOUR) - _HOUR
    metric: str = parameters["metric"]
    ranked = await ranking(
        reader,
        TelemetryQuery(
            selection({**parameters, "metric": [metric]}).and_(NO_TARGET),
            parameters.get("start_time", since),
            end,
        ),
        parameters.get("agg", Aggregate.AVG),
        by,
        parameters.get("order", Order.NEWEST_FIRST) is Order.NEWEST_FIRST,
        request.app[LIMITS],
        request.app[VIEWS],
    )
    best = ranked[: parameters.get("n", 10)]
    if by is By.HOST:
        return [
            {"rank": rank, "hostname": each.name, "metric_name": metric, "value": each.value}
            for rank, each in enumerate(best, 1)
        ]
    return await _of_gpus(reader, best, metric)


async def _of_gpus(reader: Reader, best: list[Ranked], metric: str) -> list[dict[str, Any]]:
    gpus = await gpus_called(reader, tuple(each.name for each in best))
    rows = []
    for rank, each in enumerate(best, 1):
        gpu = gpus.get(each.name)
        rows.append(
            {
                "rank": rank,
                "uuid": each.name,
                "hostname": gpu.hostname if gpu else "",
                "modelName": gpu.model_name if gpu else "",
                "gpu_id": gpu.gpu_id if gpu else "",
                "metric_name": metric,
                "value": each.value,
            }
        )
    return rows
