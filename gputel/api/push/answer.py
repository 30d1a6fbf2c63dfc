"""The answer to a push."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gputel.api.push.pusher import Pushed

MOST_REPORTED = 1000
"""The most rejected records that an answer lists. ``rejected_count`` counts all of them."""


def answer_of(pushed: Pushed) -> web.Response:
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
