"""``GET /api/v1/gpus/{uuid}/telemetry`` and ``/api/v1/telemetry``: records of GPUs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gputel.api.formats.answer import HELD_RECORDS, FirstRecords, Preferences, answer_records
from gputel.api.formats.shape import RECORD, grouped
from gputel.api.shared.documented import errors, listed, operation, path, query
from gputel.api.shared.filters import selection
from gputel.api.shared.keys import LIMITS, READER, VIEWS
from gputel.api.shared.nearest import unknown_gpu
from gputel.api.shared.schemas import GpuPath, RecordSchema
from gputel.api.telemetry.paging import cut_page, next_page
from gputel.api.telemetry.schemas import (
    LABEL_COLUMNS,
    FleetRecordSchema,
    FleetTelemetryQuery,
    GpuTelemetryQuery,
)
from gputel.errors import BadRequest
from gputel.store.read.reader import EARLIEST, LATEST, Reader
from gputel.store.read.records import Records
from gputel.store.read.selection import Selection, of_gpu
from gputel.store.read.telemetry import TelemetryQuery, telemetry
from gputel.store.read.time_order import Order
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step


@operation(
    "list_gpu_telemetry",
    "telemetry",
    "Read the telemetry of a GPU",
    "All records from `start_time` to `end_time`, both inclusive, newest first. The list is sent "
    "while it is read, so it is complete however long it is. If the database fails meanwhile, the "
    "connection breaks off, so that you never take a part for the complete list. With `step`, the "
    "answer has one record for each series and span of time that has records between `start_time` "
    "and `end_time`: `timestamp` is the beginning of the span, `value` is what `agg` says.",
)
@path(GpuPath)
@query(GpuTelemetryQuery)
@listed(RecordSchema, "The records; an empty list if there are none.")
@errors(400, 404, 406, 503)
async def list_gpu_telemetry(request: web.Request) -> web.StreamResponse:
    """Answer the records of one GPU, in memory that does not grow with their number."""
    uuid = request["match_info"]["uuid"]
    series = of_gpu(uuid).and_(*selection(request["querystring"]).conditions)
    return await _answer_telemetry(request, series, uuid)


@operation(
    "list_telemetry",
    "telemetry",
    "Read telemetry across GPUs",
    "Records of every GPU that matches the filters, as `/api/v1/gpus/{uuid}/telemetry` gives "
    "those of one GPU. With `group_by`, the answer has one record for each group of series and "
    "span: `timestamp`, `metric_name`, the labels of `group_by`, and `value`. Percentiles and "
    "averages are those of all records of the group; `sum` and `rate` add up GPUs, each once.",
)
@query(FleetTelemetryQuery)
@listed(FleetRecordSchema, "The records; an empty list if there are none.")
@errors(400, 406, 503)
async def list_telemetry(request: web.Request) -> web.StreamResponse:
    """Answer the records of many GPUs, in memory that does not grow with their number."""
    return await _answer_telemetry(request, selection(request["querystring"]))


async def _answer_telemetry(
    request: web.Request, series: Selection, uuid: str | None = None
) -> web.StreamResponse:
    """Answer the records of the series, as the parameters of ``RecordsQuery`` say.

    An empty answer for the GPU ``uuid`` is a NotFound, if the store does not know the GPU.
    """
    parameters, reader = request["querystring"], request.app[READER]
    limit, groups = parameters.get("limit"), parameters.get("group_by")
    preferences = Preferences.of(request)
    async with aclosing(_records(request, series)) as pieces:
        with preferences.timing.phase("store"):
            first = FirstRecords()
            if request.method != "HEAD":
                first = await FirstRecords.read(pieces, limit or HELD_RECORDS)
            if not first.pieces and uuid is not None:
                await _check_known(reader, uuid)
        if request.method == "HEAD":
            return web.Response(headers=preferences.headers())
        link: dict[str, str] = {}
        if limit is not None:
            await pieces.aclose()  # the page is in memory: give the session of Postgres back
            first, end = cut_page(first, limit, parameters.get("cursor"), groups is not None)
            link = next_page(request, end) if end is not None else link
        shape = RECORD if groups is None else grouped(["metric_name", *groups])
        return await answer_records(preferences, first, pieces, shape, link)


def _records(request: web.Request, series: Selection) -> AsyncGenerator[Records, None]:
    """The records of the series, in pieces.

    With a limit there is one record more, which tells whether another page follows.
    """
    parameters, steps = request["querystring"], _steps(request["querystring"])
    limit, after = parameters.get("limit"), parameters.get("cursor")
    groups = parameters.get("group_by")
    if after is not None and len(after.group) != (0 if groups is None else 1 + len(groups)):
        raise BadRequest("cursor: belongs to a request with another group_by; leave it out")
    selected = TelemetryQuery(
        series,
        parameters.get("start_time", EARLIEST),
        parameters.get("end_time", LATEST),
        parameters.get("order", Order.NEWEST_FIRST),
        after,
        None if limit is None else limit + 1,
    )
    reader, limits, views = request.app[READER], request.app[LIMITS], request.app[VIEWS]
    if steps is None:
        return telemetry(reader, selected, limits, views)
    return telemetry_by_step(reader, selected, steps, limits, views)


def _steps(parameters: Mapping[str, Any]) -> StepQuery | None:
    if "step" not in parameters:
        return None
    groups = parameters.get("group_by")
    columns = None if groups is None else tuple(LABEL_COLUMNS[name] for name in groups)
    aggregate, fill = parameters.get("agg", Aggregate.AVG), "fill" in parameters
    return StepQuery(parameters["step"], aggregate, group_by=columns, fill=fill)


async def _check_known(reader: Reader, uuid: str) -> None:
    """Raise NotFound for a GPU without any record in the store."""
    if not await reader.gpu_exists(uuid):
        raise await unknown_gpu(reader, uuid)
