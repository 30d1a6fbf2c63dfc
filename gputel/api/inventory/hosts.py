"""``GET /api/v1/hosts`` and ``/api/v1/hosts/{hostname}/gpus``: GPUs by host."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from marshmallow import Schema, fields

from gputel.api.formats.answer import answer_rows
from gputel.api.shared.documented import errors, listed, operation, path, query
from gputel.api.shared.filters import SeenGpuFilters, selection
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.nearest import did_you_mean
from gputel.api.shared.schemas import FormatQuery, GpuSchema, described
from gputel.errors import NotFound
from gputel.store.limits import Limits
from gputel.store.read.inventory import Host, hosts_of
from gputel.store.read.reader import Reader
from gputel.store.read.records import Gpu
from gputel.store.read.selection import EVERY, Comparison, LabelCondition, Selection

_TIME = "2025-07-18T20:42:36Z"


class HostPath(Schema):
    """The host in the path."""

    hostname = fields.String(
        required=True,
        metadata=described("The host, as `/api/v1/hosts` lists it.", "mtv5-dgx1-hgpu-031"),
    )


class HostSchema(Schema):
    """A host, with the GPUs that were last seen on it."""

    hostname = fields.String(required=True, metadata=described("Its name.", "mtv5-dgx1-hgpu-031"))
    gpus = fields.Integer(required=True, metadata=described("The number of its GPUs.", 8))
    models = fields.List(
        fields.String(),
        required=True,
        metadata=described("The models of its GPUs, each once.", ["NVIDIA H100 80GB HBM3"]),
    )
    first_seen = fields.DateTime(
        required=True, metadata=described("The time of the oldest record of its GPUs.", _TIME)
    )
    last_seen = fields.DateTime(
        required=True, metadata=described("The time of the newest record of its GPUs.", _TIME)
    )


@operation(
    "list_hosts",
    "telemetry",
    "List the hosts",
    "Every host on which a GPU was last seen, ordered by name. The filters select GPUs, as in "
    "`/api/v1/gpus`: a host is listed if it has a selected GPU, and its numbers are those of its "
    "selected GPUs. GPUs without a hostname belong to no host.",
)
@query(SeenGpuFilters)
@listed(HostSchema, "The hosts; an empty list if there are none.")
@errors(400, 406, 503)
async def list_hosts(request: web.Request) -> web.Response:
    """Answer the hosts of the GPUs that match the filters."""
    parameters, app = request["querystring"], request.app
    hosts = _hosts(app[READER], app[LIMITS], selection(parameters), parameters.get("seen_since"))
    return await answer_rows(request, hosts, HostSchema)


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
    gpus = _gpus(app[READER], request["match_info"]["hostname"], app[LIMITS])
    return await answer_rows(request, gpus, GpuSchema)


async def _hosts(
    reader: Reader,
    limits: Limits,
    selection: Selection = EVERY,
    seen_since: datetime | None = None,
) -> list[Host]:
    return hosts_of(await reader.gpus(selection, seen_since, limits))


async def _gpus(reader: Reader, hostname: str, limits: Limits) -> list[Gpu]:
    gpus = await reader.gpus(
        Selection((LabelCondition("hostname", Comparison.IS, (hostname,)),)), limits=limits
    )
    if not gpus:
        known = [host.hostname for host in await _hosts(reader, limits)]
        raise NotFound(
            f"no GPU was last seen on host {hostname!r}{did_you_mean(hostname, known)}"
            "GET /api/v1/hosts lists those that have some"
        )
    return gpus
