"""``GET /api/v1/gpus/{uuid}/telemetry``: the records of one GPU, streamed."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from gputel.api.shared.documented import errors, listed, operation, path, query
from gputel.api.shared.keys import READER
from gputel.api.shared.nearest import unknown_gpu
from gputel.api.shared.schemas import GpuPath, RecordSchema
from gputel.api.telemetry.answer import answer_telemetry
from gputel.api.telemetry.schemas import GpuTelemetryQuery
from gputel.store.read.reader import Reader
from gputel.store.read.selection import of_gpu


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
@query(GpuTelemetryQuery)
@listed(RecordSchema, "The records; an empty list if none.")
@errors(400, 404, 406, 503)
async def list_gpu_telemetry(request: web.Request) -> web.StreamResponse:
    """Answer the records of one GPU, in memory that does not grow with them."""
    reader, uuid = request.app[READER], request["match_info"]["uuid"]
    selection = of_gpu(uuid, request["querystring"].get("metric", ()))
    return await answer_telemetry(request, selection, known=partial(_known, reader, uuid))


async def _known(reader: Reader, uuid: str) -> None:
    """Raise NotFound for a GPU of which nothing has landed."""
    if not await reader.gpu_exists(uuid):
        raise await unknown_gpu(reader, uuid)
