"""The requests of operators: drain, and dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gputel.broker.queues.queues import Queues
from gputel.broker.queues.waiting import WaitingQueue
from gputel.broker.requests import arguments as query
from gputel.broker.requests.encoding import (
    decode_selection,
    encode,
    enqueued_text,
    payload_text,
    shown_metadata,
)
from gputel.broker.requests.exchange import (
    converted,
    read_items,
    reply_type,
    request_type,
    reserve,
    response,
)
from gputel.config.settings import BrokerSettings
from gputel.errors import BadRequest
from gputel.mq.core.message import QueuedMessage
from gputel.mq.core.queue import MessageQueue
from gputel.mq.wire.protocol import MSGPACK

_PAGE = 100


class AdminHandlers:
    """Drains the broker; lists, replays and purges dead letters."""

    def __init__(self, queues: Queues, settings: BrokerSettings) -> None:
        self._queues = queues
        self._settings = settings

    def add_to(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_post("/admin/drain", self.drain)
        app.router.add_get("/dead-letters", self.list_dead)
        app.router.add_get("/dead-letters/{id:.+}", self.show_dead)
        app.router.add_post("/dead-letters/replay", self.replay)
        app.router.add_post("/dead-letters/purge", self.purge)

    async def drain(self, request: web.Request) -> web.Response:
        """``POST /admin/drain``: refuse publishes, let consumers empty the queues."""
        query.read(request.query)
        if await read_items(request, self._settings):
            raise BadRequest("drain takes no body")
        self._queues.close()
        queues = [waiting.queue for waiting in self._queues]
        left = {
            "drained": all(queue.drained for queue in queues),
            "ready": sum(queue.ready for queue in queues),
            "delayed": sum(queue.delayed for queue in queues),
            "in_flight": sum(queue.in_flight for queue in queues),
            "dead": sum(len(queue.dead_letters) for queue in queues),
        }
        return response(request, left)

    async def list_dead(self, request: web.Request) -> web.Response:
        """``GET /dead-letters?offset=&limit=``: oldest first, without their payloads."""
        query.read(request.query, query.QUEUE, query.OFFSET, query.LIMIT)
        offset = query.OFFSET.of(request.query) or 0
        limit = query.LIMIT.of(request.query) or _PAGE
        waiting = self._queue_of(request)
        letters = waiting.queue.dead_letters
        page, total = letters.page(offset, limit), len(letters)
        content_type = reply_type(request)
        size = sum(map(_shown_bytes, page))
        reserve(request, size)

        def encoded() -> bytes:
            shown = [_summary(waiting, message, content_type) for message in page]
            return encode({"total": total, "offset": offset, "dead_letters": shown}, content_type)

        return web.Response(body=await converted(size, encoded), content_type=content_type)

    async def show_dead(self, request: web.Request) -> web.Response:
        """``GET /dead-letters/{id}``: one dead letter with its payload."""
        query.read(request.query, query.QUEUE)
        waiting = self._queue_of(request)
        message = waiting.queue.dead_letters.get(request.match_info["id"])
        content_type = reply_type(request)
        size = _shown_bytes(message) + len(message.payload)
        reserve(request, size)

        def encoded() -> bytes:
            summary = _summary(waiting, message, content_type)
            if content_type == MSGPACK:
                return encode({**summary, "payload": message.payload}, content_type)
            payload, encoding = payload_text(message.payload)
            return encode({**summary, "payload": payload, "encoding": encoding}, content_type)

        return web.Response(body=await converted(size, encoded), content_type=content_type)

    async def replay(self, request: web.Request) -> web.Response:
        """``POST /dead-letters/replay``: make them ready again, behind all others."""
        return response(
            request, {"replayed": await self._settle(request, lambda queue, id_: queue.replay(id_))}
        )

    async def purge(self, request: web.Request) -> web.Response:
        """``POST /dead-letters/purge``: delete them."""
        return response(
            request, {"purged": await self._settle(request, lambda queue, id_: queue.purge(id_))}
        )

    async def _settle(self, request: web.Request, act: Callable[[MessageQueue, str], None]) -> int:
        query.read(request.query, query.QUEUE)
        body = await read_items(request, self._settings)
        selection = decode_selection(body, request_type(request))
        waiting = self._queue_of(request)
        queue = waiting.queue
        letters = queue.dead_letters
        ids = letters.ids() if selection.all else selection.ids or [selection.id or ""]
        errors = waiting.each(lambda id_, _now: act(queue, id_), ids)
        if waiting.confirm is not None:
            await waiting.confirm()
        done = errors.count(None)
        refusal = next((error for error in errors if error is not None), None)
        if refusal is not None and not done:
            raise refusal
        return done

    def _queue_of(self, request: web.Request) -> WaitingQueue:
        return self._queues.existing(query.QUEUE.of(request.query))


def _shown_bytes(message: QueuedMessage) -> int:
    return message.size - len(message.payload)


def _summary(waiting: WaitingQueue, message: QueuedMessage, content_type: str) -> dict[str, Any]:
    def wall(at: float) -> float:
        """Unix seconds of a time on the queue's monotonic clock."""
        return round(time.time() - (waiting.now() - at), 3)

    return {
        "id": message.id,
        "key": message.key,
        "metadata": shown_metadata(message, content_type),
        "payload_bytes": len(message.payload),
        "attempts": message.attempts,
        "enqueued": enqueued_text(message.enqueued),
        "reason": message.history[-1].reason,
        "died_at": wall(message.since),
        "history": [
            {"attempt": f.attempt, "at": wall(f.at), "reason": f.reason} for f in message.history
        ],
    }
