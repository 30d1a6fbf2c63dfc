"""The requests that only read: statistics, and the next messages."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gputel.broker.queues.queues import DEFAULT, Queues
from gputel.broker.requests import arguments as query
from gputel.broker.requests.encoding import (
    encode,
    enqueued_text,
    payload_text,
    shown_metadata,
)
from gputel.broker.requests.exchange import converted, reply_type, reserve, response
from gputel.broker.requests.numbers import (
    journal_numbers,
    latencies,
    latency_summary,
    queue_numbers,
    total_numbers,
)
from gputel.config.settings import BrokerSettings
from gputel.mq.core.message import QueuedMessage
from gputel.mq.wire.protocol import MAX_BYTES, MSGPACK

_PEEK = 10
_PEEK_PAYLOAD_BYTES = 65_536
_PEEK_MAX = query.Argument("max", query.whole_number, 1, 1_000)
_MAX_PAYLOAD_BYTES = query.Argument("max_payload_bytes", query.whole_number, 0, MAX_BYTES)


class StatsHandlers:
    """Answers the statistics of a queue, and its next messages."""

    def __init__(self, queues: Queues, settings: BrokerSettings) -> None:
        self._queues = queues
        self._settings = settings

    def add_to(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_get("/stats", self.stats)
        app.router.add_get("/peek", self.peek)

    async def stats(self, request: web.Request) -> web.Response:
        """``GET /stats``: what a queue holds, its bounds, counters and latencies."""
        (name,) = query.read(request.query, query.QUEUE)
        waiting = self._queues.existing(name)
        journal = self._queues.journal
        values: dict[str, Any] = {
            "queue": name or DEFAULT,
            "closed": waiting.queue.closed,
            "ordered_keys": waiting.queue.ordered_keys,
            **queue_numbers(waiting),
            **{name: latency_summary(timed) for name, timed in latencies(waiting).items()},
            "broker": total_numbers(self._queues.total),
            "journal": journal and journal_numbers(journal),
        }
        return response(request, values)

    async def peek(self, request: web.Request) -> web.Response:
        """``GET /peek?max=&max_payload_bytes=``: the next messages, without a lease."""
        name, most, largest = query.read(request.query, query.QUEUE, _PEEK_MAX, _MAX_PAYLOAD_BYTES)
        waiting = self._queues.existing(name)
        if largest is None:
            largest = _PEEK_PAYLOAD_BYTES
        now = waiting.now()
        room = self._settings.message_max_bytes
        shown: list[_Shown] = []
        for message in waiting.queue.peek(most or _PEEK):
            size = len(message.payload)
            fits = size <= min(largest, room)
            room -= size if fits else 0
            shown.append((_summary(message, now), message, fits))
        content_type = reply_type(request)
        metadata_bytes = sum(len(message.metadata) for _, message, _ in shown)
        size = metadata_bytes + self._settings.message_max_bytes - room
        reserve(request, size)
        body = await converted(size, _encode, shown, content_type)
        return web.Response(body=body, content_type=content_type)


_Shown = tuple[dict[str, Any], QueuedMessage, bool]
"""The summary of a message, the message, and whether its payload is shown."""


def _summary(message: QueuedMessage, now: float) -> dict[str, Any]:
    return {
        "id": message.id,
        "key": message.key,
        "metadata": None,
        "state": message.state.value,
        "attempts": message.attempts,
        "enqueued": enqueued_text(message.enqueued),
        "age_s": round(now - message.since, 6),
        "payload_bytes": len(message.payload),
        "payload": None,
    }


def _encode(shown: list[_Shown], content_type: str) -> bytes:
    for summary, message, with_payload in shown:
        summary["metadata"] = shown_metadata(message, content_type)
        if not with_payload:
            continue
        if content_type == MSGPACK:
            summary["payload"] = message.payload
        else:
            summary["payload"], summary["encoding"] = payload_text(message.payload)
    return encode([summary for summary, _, _ in shown], content_type)
