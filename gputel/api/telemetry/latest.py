"""``GET /api/v1/telemetry/latest``: the newest record of each series of a fleet."""

from __future__ import annotations

from aiohttp import web
from marshmallow import fields

from gputel.api.formats.newest import encode_newest
from gputel.api.formats.whole import Asked, whole_unless_known
from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.filters import SeriesFilters, Since, selection
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.schemas import RecordSchema, described
from gputel.model.names import SHOWN_COLUMNS
from gputel.store.read.latest import latest
from gputel.threads import READING

_IN_THREAD_RECORDS = 5_000  # fewer are encoded sooner than a thread is told to


class LatestQuery(SeriesFilters):
    """Which series, and how old their newest record may be."""

    seen_since = Since(
        "Only series with a record of this time or later, RFC 3339 or like now-5m. Default: those "
        "with a record in the last 5 minutes of their GPU, whenever that was."
    )


class LatestSchema(RecordSchema):
    """The newest record of a series."""

    class Meta:
        """Of marshmallow."""

        fields = ("timestamp", "age_s", *(column.api for column in SHOWN_COLUMNS), "value")

    age_s = fields.Float(
        required=True,
        metadata=described("How long ago that was, seconds; below 0 if its clock is ahead.", 4.217),
    )


@operation(
    "list_latest_telemetry",
    "telemetry",
    "Read the newest record of each series",
    "One record a series, ordered by uuid and metric: a whole fleet in one call. Series that have "
    "ended are left out, as those of a pod that is gone from its GPU: without `seen_since`, those "
    "without a record in the last 5 minutes of their GPU. A GPU that is silent keeps its last "
    "records, with their age.",
)
@query(LatestQuery)
@listed(LatestSchema, "The records; an empty list if none.")
@errors(400, 406, 503)
async def list_latest_telemetry(request: web.Request) -> web.Response:
    """Answer the newest record of each series that the filters leave."""
    wanted, app, asked = request["querystring"], request.app, Asked.by(request)
    with asked.timing.phase("store"):
        seen_since = wanted.get("seen_since")
        found = await latest(app[READER], selection(wanted), seen_since, app[LIMITS])

    async def encode() -> bytes:
        many = len(found) > _IN_THREAD_RECORDS
        return await READING.run_if(many, encode_newest, found, LatestSchema, asked.format)

    determining = [asked.format.encode(), *found.determining()]
    return await whole_unless_known(asked, determining, {}, encode)
