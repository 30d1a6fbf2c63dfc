"""``GET /api/v1/gpus``: the GPUs that have telemetry."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gputel.api.documented import answer, errors, operation, query
from gputel.api.keys import READER
from gputel.api.schemas import GpuSchema


@operation(
    "list_gpus",
    "telemetry",
    "List the GPUs",
    "Every GPU that has telemetry, one object a GPU, ordered by uuid. A GPU whose labels changed "
    "over time (another host, another pod) is one object, with the labels it was last seen with.",
)
@query()
@answer(GpuSchema(many=True), 200, "The GPUs; an empty array if none.")
@errors(400, 503)
async def list_gpus(request: web.Request) -> web.Response:
    """Answer every GPU as one JSON array."""
    gpus = await request.app[READER].gpus()
    return web.Response(body=msgspec.json.encode(gpus), content_type="application/json")
