"""``GET /api/v1/gpus/{uuid}/telemetry``: the records of one GPU, streamed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import web

from gputel.api.documented import answer, errors, operation, path, query
from gputel.api.keys import READER
from gputel.api.record_json import RecordEncoder
from gputel.api.schemas import GpuPath, RecordSchema, TelemetryQuery
from gputel.errors import GputelError, NotFound
from gputel.store.reader import EARLIEST, LATEST, Reader
from gputel.store.records import Records
from gputel.store.rollup import Aggregate
from gputel.store.rollup_reader import Steps, telemetry_by_step
from gputel.store.selection import of_gpu
from gputel.store.telemetry import Asked, telemetry

log = logging.getLogger("gputel.api")

_STALL_TIMEOUT_S = 60.0


@operation(
    "list_gpu_telemetry",
    "telemetry",
    "Read the telemetry of a GPU",
    "All records from `start_time` to `end_time`, both inclusive, newest first, as one JSON array "
    "that is sent while it is read: however many there are, none is left out. Should the database "
    "fail on the way, the transfer breaks off, so that a part is never taken for the whole. With "
    "`step`, one record for each series and span of time that has records between `start_time` and "
    "`end_time`: `timestamp` is the beginning of the span, `value` what `agg` says.",
)
@path(GpuPath)
@query(TelemetryQuery)
@answer(RecordSchema(many=True), 200, "The records; an empty array if none.")
@errors(400, 404, 503)
async def list_gpu_telemetry(request: web.Request) -> web.StreamResponse:
    """Answer the records of one GPU as one JSON array, in memory that does not grow with them."""
    reader = request.app[READER]
    uuid = request["match_info"]["uuid"]
    wanted = request["querystring"]
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    if request.method == "HEAD":
        await _known(reader, uuid)
        return response
    pieces = _asked(reader, uuid, wanted)
    async with aclosing(pieces):
        # The first piece comes before the status line, so that a failure can still be a 503.
        first = await anext(pieces, None)
        if first is None:
            await _known(reader, uuid)
        await response.prepare(request)
        try:
            await _write_array(response, first, pieces)
        except (GputelError, TimeoutError) as error:
            _break_off(request, error)
    return response


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


async def _write_array(
    response: web.StreamResponse, first: Records | None, pieces: AsyncIterator[Records]
) -> None:
    encoder = RecordEncoder()
    await _write(response, encoder.encode(first, b"[") if first else b"[")
    async for records in pieces:
        await _write(response, encoder.encode(records, b","))
    await _write(response, b"]\n")


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write, and wait for the client to take it: but not for ever, with a database session held."""
    async with asyncio.timeout(_STALL_TIMEOUT_S):
        await response.write(data)
        # A write that finds room does not wait, and other requests would starve.
        await asyncio.sleep(0)


def _break_off(request: web.Request, error: Exception) -> None:
    """Cut the connection without the end of the transfer, so that the client sees it is broken."""
    reason = str(error) or f"the client took nothing for {_STALL_TIMEOUT_S:g} s"
    log.warning("broke off the answer to %s: %s", request.path, reason)
    if request.transport is not None:
        request.transport.abort()
