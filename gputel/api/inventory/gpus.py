"""``GET /api/v1/gpus``: the GPUs that have telemetry."""

from __future__ import annotations

from aiohttp import web

from gputel.api.formats.answer import answer_rows
from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.filters import SeenGpuFilters, selection
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.schemas import GpuSchema


@operation(
    "list_gpus",
    "telemetry",
    "List the GPUs",
    "Every GPU that has telemetry, one object a GPU, ordered by uuid. A GPU whose labels changed "
    "over time (another host, another pod) is one object, with the labels it was last seen with; "
    "filters look at those.",
)
@query(SeenGpuFilters)
@listed(GpuSchema, "The GPUs; an empty list if none.")
@errors(400, 406, 503)
async def list_gpus(request: web.Request) -> web.Response:
    """Answer the GPUs that the filters leave."""
    wanted, app = request["querystring"], request.app
    found = app[READER].gpus(selection(wanted), wanted.get("seen_since"), app[LIMITS])
    return await answer_rows(request, found, GpuSchema)
