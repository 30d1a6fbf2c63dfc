"""``GET /api/v1/hosts`` and ``/api/v1/hosts/{hostname}/gpus``: GPUs by host."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from gputel.api.formats.answer import answer_rows
from gputel.api.inventory.schemas import HostPath, HostSchema
from gputel.api.shared.documented import errors, listed, operation, path, query
from gputel.api.shared.filters import SeenGpuFilters, selection
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.nearest import did_you_mean
from gputel.api.shared.schemas import FormatQuery, GpuSchema
from gputel.errors import NotFound
from gputel.store.limits import Limits
from gputel.store.read.inventory import Host, hosts_of
from gputel.store.read.reader import Reader
from gputel.store.read.records import Gpu
from gputel.store.read.selection import EVERY, Comparison, LabelCondition, Selection


@operation(
    "list_hosts",
    "telemetry",
    "List the hosts",
    "Every host that a GPU was last seen on, one object a host, ordered by name. Filters leave "
    "GPUs, as those of `/api/v1/gpus` do: hosts of none of them are left out, and the others told "
    "of by those that are left. GPUs without a hostname are on no host.",
)
@query(SeenGpuFilters)
@listed(HostSchema, "The hosts; an empty list if none.")
@errors(400, 406, 503)
async def list_hosts(request: web.Request) -> web.Response:
    """Answer the hosts of the GPUs that the filters leave."""
    wanted, app = request["querystring"], request.app
    found = _hosts(app[READER], app[LIMITS], selection(wanted), wanted.get("seen_since"))
    return await answer_rows(request, found, HostSchema)


@operation(
    "list_host_gpus",
    "telemetry",
    "List the GPUs of a host",
    "The GPUs that were last seen on this host, ordered by uuid.",
)
@path(HostPath)
@query(FormatQuery)
@listed(GpuSchema, "The GPUs.")
@errors(400, 404, 406, 503)
async def list_host_gpus(request: web.Request) -> web.Response:
    """Answer the GPUs of one host."""
    app = request.app
    found = _gpus(app[READER], request["match_info"]["hostname"], app[LIMITS])
    return await answer_rows(request, found, GpuSchema)


async def _hosts(
    reader: Reader,
    limits: Limits,
    selection: Selection = EVERY,
    seen_since: datetime | None = None,
) -> list[Host]:
    return hosts_of(await reader.gpus(selection, seen_since, limits))


async def _gpus(reader: Reader, hostname: str, limits: Limits) -> list[Gpu]:
    found = await reader.gpus(
        Selection((LabelCondition("hostname", Comparison.IS, (hostname,)),)), limits=limits
    )
    if not found:
        known = [host.hostname for host in await _hosts(reader, limits)]
        raise NotFound(
            f"no GPU was last seen on host {hostname!r}{did_you_mean(hostname, known)}"
            "GET /api/v1/hosts lists those that have some"
        )
    return found
