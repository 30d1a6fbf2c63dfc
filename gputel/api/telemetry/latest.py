"""``GET /api/v1/telemetry/latest``: the newest record of each series of a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import fields

from gputel.api.formats.answer import Preferences, entity_tag
from gputel.api.formats.newest import encode_newest
from gputel.api.shared.documented import errors, listed, operation, query
from gputel.api.shared.filters import MetricsField, SeriesFilters, SinceField, selection
from gputel.api.shared.keys import LIMITS, VIEWS
from gputel.api.shared.schemas import RecordSchema, described, label_fields
from gputel.model.meanings import MEANINGS
from gputel.model.names import PARSED_COLUMNS, SHOWN_COLUMNS
from gputel.store.read.latest import latest
from gputel.store.read.latest_meanings import latest_of_meanings
from gputel.store.read.selection import NO_TARGET, Selection
from gputel.threads import READING

_IN_THREAD_RECORDS = 5_000  # encoding fewer takes less time than starting a thread


class LatestQuery(SeriesFilters):
    """Filters of series, and the greatest age of their newest record."""

    metric = MetricsField("DCGM_FI_DEV_*_TEMP", with_meanings=True)
    seen_since = SinceField(
        "Only series with a record at this time or later, RFC 3339 or like now-5m. Default: series "
        "with a record in the last 5 minutes of their GPU, however long ago that was."
    )


class LatestSchema(RecordSchema):
    """The newest record of a series."""

    class Meta:
        """Of marshmallow."""

        fields = ("timestamp", "age_s", *(column.api for column in SHOWN_COLUMNS), "value")

    locals().update(label_fields(PARSED_COLUMNS))
    age_s = fields.Float(
        required=True,
        metadata=described("Seconds since then; below 0 if the clock of the host is ahead.", 4.217),
    )


@operation(
    "list_latest_telemetry",
    "telemetry",
    "Read the newest record of each series",
    "One record for each series, ordered by uuid and metric: a fleet in one call. Series that "
    "have ended are left out, such as those of a pod that has left its GPU. Without `seen_since`, "
    "a series has ended if it has no record in the last 5 minutes of its GPU. A GPU that is silent "
    "keeps its last records, with their age. Series about targets of scrapes, such as `up`, are "
    "listed only if `metric` selects them.",
)
@query(LatestQuery)
@listed(LatestSchema, "The records; an empty list if there are none.")
@errors(400, 406, 503)
async def list_latest_telemetry(request: web.Request) -> web.Response:
    """Answer the newest record of each series that matches the filters."""
    parameters, app, preferences = request["querystring"], request.app, Preferences.of(request)
    with preferences.timing.phase("store"):
        seen_since = parameters.get("seen_since")
        names = parameters.get("metric", [])
        if any(name in MEANINGS for name in names):
            others = {name: value for name, value in parameters.items() if name != "metric"}
            newest = await latest_of_meanings(
                app[VIEWS], names, selection(others), seen_since, app[LIMITS]
            )
        else:
            newest = await latest(app[VIEWS], _selection(parameters), seen_since, app[LIMITS])
    with preferences.timing.phase("encode"):
        tag = entity_tag([preferences.format.encode(), *newest.determining()])
        if response := preferences.not_modified(tag):
            return response
        large = len(newest) > _IN_THREAD_RECORDS
        body = await READING.run_if(large, encode_newest, newest, LatestSchema, preferences.format)
    return await preferences.complete(body, tag)


def _selection(parameters: Mapping[str, Any]) -> Selection:
    """The selected series; those about targets of scrapes only if the request names metrics."""
    selected = selection(parameters)
    return selected if "metric" in parameters else selected.and_(NO_TARGET)
