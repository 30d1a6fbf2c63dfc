"""Counts and times every request, by role, route and status."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel import metrics
from gputel.web.errors import Handler

_BEGUN = web.RequestKey("begun", tuple[float, int])


def note_begun(request: web.Request, status: int) -> None:
    """Time a request until now alone, as its answer goes on for as long as the client likes."""
    request[_BEGUN] = time.perf_counter(), status


def request_metrics(role: str) -> Middleware:
    """A middleware that keeps ``metrics.HTTP``; put it first, outside the errors.

    A route is told by its pattern, so ids in paths make no series. A client that leaves before
    its reply counts with status 499, but for one that has ``note_begun``.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        started = time.perf_counter()
        status = 499
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        else:
            return response
        finally:
            ended, status = request.get(_BEGUN) or (time.perf_counter(), status)
            metrics.HTTP.note(role, route, status, ended - started)

    return middleware
