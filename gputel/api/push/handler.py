"""``POST /api/v1/telemetry``: records for the queue."""

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
    "Puts records into the queue, from which the collector lands them. Each is checked by itself: "
    "those that are wrong are rejected, by their place in the body and the reason, and the others "
    "accepted. With `Idempotency-Key` a push may be repeated and lands once.",
)
@query(NoQuery)
@body(BODY)
@headers(KEY)
@answer(PushedSchema(), 202, "What was accepted, and what was rejected.")
@answer(PushRefusedSchema(), 400, "The body is not what it says, or every record was rejected.")
@answer(ErrorSchema(), 413, "The body is over a limit; the message names its setting.")
@answer(ErrorSchema(), 415, "Content-Type or Content-Encoding is none of those that are read.")
@answer(ErrorSchema(), 422, "The `Idempotency-Key` came with another body before.")
@answer(
    ErrorSchema(),
    503,
    "The queue is full, or the broker away (with a key: or Postgres): try again after "
    "`Retry-After` seconds.",
)
@errors()
async def push_telemetry(request: web.Request) -> web.Response:
    """Take what is right of the body."""
    pusher = request.app.get(PUSHER)
    if pusher is None:
        raise BrokerUnavailable("this API has no queue to put records into")
    return answer_of(await pusher.push(request, key_of(request)))
