"""``GET /api/v1/gpus/{uuid}/telemetry``: the records of one GPU, streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from gputel.api.documented import errors, listed, operation, path, query
from gputel.api.formats.answer import answer_records
from gputel.api.keys import READER
from gputel.api.schemas import GpuPath, RecordSchema, TelemetryQuery
from gputel.errors import NotFound
from gputel.store.reader import EARLIEST, LATEST, Reader
from gputel.store.records import Records
from gputel.store.rollup import Aggregate
from gputel.store.rollup_reader import Steps, telemetry_by_step
from gputel.store.selection import of_gpu
from gputel.store.telemetry import Asked, telemetry


@operation(
    "list_gpu_telemetry",
    "telemetry",
    "Read the telemetry of a GPU",
    "All records from `start_time` to `end_time`, both inclusive, newest first, in a list "
    "that is sent while it is read: however many there are, none is left out. Should the database "
    "fail on the way, the transfer breaks off, so that a part is never taken for the whole. With "
    "`step`, one record for each series and span of time that has records between `start_time` and "
    "`end_time`: `timestamp` is the beginning of the span, `value` what `agg` says.",
)
@path(GpuPath)
@query(TelemetryQuery)
@listed(RecordSchema, "The records; an empty list if none.")
@errors(400, 404, 406, 503)
async def list_gpu_telemetry(request: web.Request) -> web.StreamResponse:
    """Answer the records of one GPU, in memory that does not grow with them."""
    reader, uuid = request.app[READER], request["match_info"]["uuid"]
    pieces = _asked(reader, uuid, request["querystring"])
    return await answer_records(request, pieces, known=partial(_known, reader, uuid))


async def _known(reader: Reader, uuid: str) -> None:
    """Raise NotFound for a GPU of which nothing has landed."""
    if not await reader.gpu_exists(uuid):
        raise NotFound(
            f"no telemetry of GPU {uuid!r} has landed; GET /api/v1/gpus lists those that have some"
        )


def _asked(reader: Reader, uuid: str, wanted: Mapping[str, Any]) -> AsyncGenerator[Records, None]:
    metrics = [wanted["metric"]] if "metric" in wanted else []
    asked = Asked(
        of_gpu(uuid, metrics),
        wanted.get("start_time", EARLIEST),
        wanted.get("end_time", LATEST),
        limit=wanted.get("limit"),
    )
    if "step" not in wanted:
        return telemetry(reader, asked)
    steps = Steps(wanted["step"], wanted.get("agg", Aggregate.AVG))
    return telemetry_by_step(reader, asked, steps)
