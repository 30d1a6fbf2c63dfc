"""``POST /api/v1/telemetry``: puts records into the queue."""

from __future__ import annotations

from aiohttp import web

from gputel.api.push.answer import answer_of
from gputel.api.push.keys import key_of
from gputel.api.push.pusher import PUSHER
from gputel.api.push.schemas import BODY, KEY, PushedSchema, PushRefusedSchema
from gputel.api.shared.documented import answer, body, errors, headers, operation, query
from gputel.api.shared.schemas import ErrorSchema, NoQuery
from gputel.errors import BrokerUnavailable


@operation(
    "push_telemetry",
    "telemetry",
    "Push records",
    "Puts records into the queue, from which the collector stores them. Each record is checked by "
    "itself. Wrong records are rejected, with their index in the body and the reason, and the "
    "others are accepted. With `Idempotency-Key` a push may be repeated and is stored once.",
)
@query(NoQuery)
@body(BODY)
@headers(KEY)
@answer(PushedSchema(), 202, "What was accepted, and what was rejected.")
@answer(
    PushRefusedSchema(),
    400,
    "The body is not in the format of its headers, or every record was rejected.",
)
@answer(ErrorSchema(), 413, "The body is over a limit. The message names the setting.")
@answer(ErrorSchema(), 415, "Content-Type or Content-Encoding is not supported.")
@answer(ErrorSchema(), 422, "The `Idempotency-Key` was used with another body before.")
@answer(
    ErrorSchema(),
    503,
    "The queue is full, or the broker is not available, or (with a key) Postgres is not: try "
    "again after `Retry-After` seconds.",
)
@errors()
async def push_telemetry(request: web.Request) -> web.Response:
    """Publish the good records of the body."""
    pusher = request.app.get(PUSHER)
    if pusher is None:
        raise BrokerUnavailable("this API has no queue to put records into")
    return answer_of(await pusher.push(request, key_of(request)))
