"""What a push is answered."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gputel.api.push.pusher import Pushed

MOST_TOLD = 1000
"""Rejects that an answer lists; ``rejected_count`` counts all."""


def answer_of(pushed: Pushed) -> web.Response:
    """202 with what was accepted and what not; 400 where nothing was."""
    rejects = pushed.rejects
    told: dict[str, Any] = {
        "rejected_count": len(rejects),
        "rejected": [{"index": each.index, "reason": each.reason} for each in rejects[:MOST_TOLD]],
    }
    if rejects and not pushed.accepted:
        first = rejects[0]
        message = (
            f"none of {len(rejects)} records was accepted; record {first.index}: {first.reason}"
        )
        return _json(400, {"code": "all_rejected", "message": message, **told})
    named = {} if pushed.message_id is None else {"message_id": pushed.message_id}
    return _json(202, {"accepted": pushed.accepted, **told, **named})


def _json(status: int, value: object) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")
