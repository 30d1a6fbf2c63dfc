"""``POST /api/v1/telemetry``: puts records into the queue."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from gputel.api.push.pusher import PUSHER, Pushed, taker
from gputel.api.push.schemas import (
    BODY,
    KEY,
    KEY_LENGTH,
    MOST_REPORTED,
    PushedSchema,
    PushRefusedSchema,
)
from gputel.api.shared.documented import answer, body, errors, headers, operation, query
from gputel.api.shared.schemas import ErrorSchema, NoQuery
from gputel.errors import BadRequest

_KEY = re.compile(rf"[!-~]{{1,{KEY_LENGTH}}}")


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
    return _answer_of(await taker(request, PUSHER).push(request, _key_of(request)))


def _key_of(request: web.Request) -> str | None:
    """The Idempotency-Key, or None. Raises BadRequest if it is not valid."""
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0].strip()):
        raise BadRequest(
            f"Idempotency-Key: give one, of 1 to {KEY_LENGTH} visible ASCII characters, such as a "
            "UUID"
        )
    return keys[0].strip()


def _answer_of(pushed: Pushed) -> web.Response:
    """202 with the accepted and the rejected records; 400 if no record was accepted."""
    rejects = pushed.rejects
    report: dict[str, Any] = {
        "rejected_count": len(rejects),
        "rejected": [
            {"index": each.index, "reason": each.reason} for each in rejects[:MOST_REPORTED]
        ],
    }
    if rejects and not pushed.accepted:
        first = rejects[0]
        message = (
            f"none of {len(rejects)} records was accepted; record {first.index}: {first.reason}"
        )
        return _json(400, {"code": "all_rejected", "message": message, **report})
    named = {} if pushed.message_id is None else {"message_id": pushed.message_id}
    return _json(202, {"accepted": pushed.accepted, **report, **named})


def _json(status: int, value: object) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")
