"""The requests about queues: list, declare and delete."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import UNSET

from gputel.broker.queues.queues import Queues
from gputel.broker.queues.waiting import WaitingQueue
from gputel.broker.requests import arguments as query
from gputel.broker.requests.encoding import decode_options
from gputel.broker.requests.exchange import read_items, request_type, response
from gputel.config.settings import BrokerSettings
from gputel.errors import BadRequest


class QueueHandlers:
    """Lists, declares and deletes queues."""

    def __init__(self, queues: Queues, settings: BrokerSettings) -> None:
        self._queues = queues
        self._settings = settings

    def add_to(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_get("/queues", self.list_queues)
        app.router.add_put("/queues/{name}", self.declare)
        app.router.add_delete("/queues/{name}", self.delete)

    async def list_queues(self, request: web.Request) -> web.Response:
        """``GET /queues``: every queue, by name."""
        query.read(request.query)
        queues = [_summary(name, waiting) for name, waiting in self._queues.items()]
        return response(request, {"queues": queues})

    async def declare(self, request: web.Request) -> web.Response:
        """``PUT /queues/NAME``: declare a queue, with options."""
        query.read(request.query)
        name = query.queue_name(request.match_info["name"])
        body = await read_items(request, self._settings)
        options = decode_options(body, request_type(request))
        ordered = None if options.ordered_keys is UNSET else options.ordered_keys
        waiting = await self._queues.declare_for_good(name, ordered_keys=ordered)
        return response(request, _summary(name, waiting))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /queues/NAME?force=``: delete a queue; with force, its messages too."""
        (force,) = query.read(request.query, _FORCE)
        name = query.queue_name(request.match_info["name"])
        if await read_items(request, self._settings):
            raise BadRequest("a delete takes no body")
        purged = await self._queues.delete(name, force=bool(force))
        return response(request, {"name": name, "purged": purged})


def _yes_or_no(text: str) -> int:
    if text not in ("true", "false"):
        raise BadRequest(f"force: {text[:40]!r} is neither true nor false")
    return text == "true"


_FORCE = query.Argument("force", _yes_or_no, 0, 1)


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
