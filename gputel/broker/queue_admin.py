"""The requests about queues as such: which there are, and the options of one."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gputel.broker import query
from gputel.broker.exchange import read_body, reply, request_type
from gputel.broker.queues import Queues
from gputel.broker.waiting_queue import WaitingQueue
from gputel.config import BrokerSettings
from gputel.mq.encoding import decode_options


class QueueHandlers:
    """Answers which queues there are, and declares queues."""

    def __init__(self, queues: Queues, settings: BrokerSettings) -> None:
        self._queues = queues
        self._settings = settings

    def add_to(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_get("/queues", self.list_queues)
        app.router.add_put("/queues/{name}", self.declare)

    async def list_queues(self, request: web.Request) -> web.Response:
        """``GET /queues``: every queue, by name."""
        query.read(request.query)
        queues = [_summary(name, waiting) for name, waiting in self._queues.items()]
        return reply(request, {"queues": queues})

    async def declare(self, request: web.Request) -> web.Response:
        """``PUT /queues/NAME``: make a queue that stays, with options."""
        query.read(request.query)
        name = query.queue_name(request.match_info["name"])
        body = await read_body(request, self._settings.message_max_bytes)
        options = decode_options(body, request_type(request))
        waiting = self._queues.declare(name, ordered_keys=options.ordered_keys)
        return reply(request, _summary(name, waiting))


def _summary(name: str, waiting: WaitingQueue) -> dict[str, Any]:
    queue = waiting.queue
    return {
        "name": name,
        "ordered_keys": queue.ordered_keys,
        "ready": queue.ready,
        "delayed": queue.delayed,
        "in_flight": queue.in_flight,
        "dead": len(queue.dead_letters),
        "bytes": queue.held_bytes,
    }
