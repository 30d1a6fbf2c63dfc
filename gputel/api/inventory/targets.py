"""``GET /api/v1/targets``: the targets of scrapes, in the form of Prometheus' API."""

from __future__ import annotations

from aiohttp import web
from marshmallow import Schema, fields, validate

from gputel.api.prometheus.targets import targets_answer
from gputel.api.shared.documented import answer, errors, operation, query
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.shared.schemas import QuerySchema, described

_TIME = "2025-07-18T20:42:36Z"
_URL = "http://gpu1:9400/metrics"
_STATES = ("active", "dropped", "any")


class TargetsQuery(QuerySchema):
    """Which targets."""

    state = fields.String(
        validate=validate.OneOf(_STATES, error=f"{{input!r}} is none of {', '.join(_STATES)}"),
        metadata=described(
            "Which targets, as Prometheus calls them. All of gputel's are active. Default: any.",
            "active",
        ),
    )
    scrapePool = fields.String(metadata=described("Only targets of this job.", "dcgm"))


class TargetSchema(Schema):
    """A target, and how its last scrape went."""

    discoveredLabels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("Always empty: gputel does not keep labels from discovery.", {}),
    )
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described(
            "The labels that each of its samples gets.", {"instance": "gpu1:9400", "job": "dcgm"}
        ),
    )
    scrapePool = fields.String(required=True, metadata=described("Its job.", "dcgm"))
    scrapeUrl = fields.String(required=True, metadata=described("What is scraped.", _URL))
    globalUrl = fields.String(required=True, metadata=described("The same URL.", _URL))
    lastError = fields.String(
        required=True,
        metadata=described(
            "Why the last scrape failed, or since when no streamer scrapes it; '' if all is well.",
            "",
        ),
    )
    lastScrape = fields.DateTime(
        required=True,
        metadata=described(
            "The start of the last scrape; 0001-01-01T00:00:00Z if there was none yet.", _TIME
        ),
    )
    lastScrapeDuration = fields.Float(
        required=True, metadata=described("How long it took, in seconds.", 0.012)
    )
    health = fields.String(
        required=True,
        metadata=described(
            "`up` or `down` after the last scrape; `unknown` before the first one, and if no "
            "streamer has reported the target for 15 seconds and three of its intervals.",
            "up",
            enum=["up", "down", "unknown"],
        ),
    )
    scrapeInterval = fields.String(
        required=True, metadata=described("The time from one scrape to the next.", "10s")
    )
    scrapeTimeout = fields.String(
        required=True, metadata=described("The time after which a scrape has failed.", "10s")
    )
    samples = fields.Integer(
        required=True, metadata=described("The samples of the last scrape that were stored.", 200)
    )
    refused = fields.Integer(
        required=True, metadata=described("The lines of the last scrape that were not stored.", 0)
    )
    owner = fields.String(
        required=True, metadata=described("The streamer that reported last.", "streamer-1")
    )
    slotsLost = fields.Integer(
        required=True, metadata=described("The scrapes that were due and did not land, ever.", 0)
    )
    hint = fields.String(
        required=True,
        metadata=described(
            "What may be wrong with a target that is up: its values, power or energy among them, "
            "have all been the same for 10 minutes, or no sample of its answer is stored. '' if "
            "nothing looks wrong.",
            "",
        ),
    )
    lastReport = fields.DateTime(
        required=True, metadata=described("The time of the last report.", _TIME)
    )


class TargetListsSchema(Schema):
    """The targets by state."""

    activeTargets = fields.List(
        fields.Nested(TargetSchema),
        required=True,
        metadata=described("The targets in order of job and instance."),
    )
    droppedTargets = fields.List(
        fields.Dict(), required=True, metadata=described("Always empty.", [])
    )


class TargetsSchema(Schema):
    """The answer in the form of Prometheus' API."""

    status = fields.String(required=True, metadata=described("Always `success`.", "success"))
    data = fields.Nested(TargetListsSchema, required=True)


@operation(
    "list_targets",
    "telemetry",
    "List the targets of scrapes",
    "Every target that a streamer scrapes, or has scraped, and how its last scrape went, in the "
    "form of Prometheus' API. `samples`, `refused`, `owner`, `slotsLost`, `hint` and "
    "`lastReport` are gputel's own.",
)
@query(TargetsQuery)
@answer(TargetsSchema(), 200, "The targets; empty lists if there are none.")
@errors(400, 503)
async def list_targets(request: web.Request) -> web.Response:
    """Answer the targets."""
    parameters, app = request["querystring"], request.app
    state, job = parameters.get("state", ""), parameters.get("scrapePool", "")
    body = await targets_answer(app[READER], app[LIMITS], state, job)
    return web.Response(body=body, content_type="application/json")
