"""Counts every request and measures its time, by role, route and status."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel import metrics
from gputel.web.errors import Handler

_BEGUN = web.RequestKey("begun", tuple[float, int])


def note_begun(request: web.Request, status: int) -> None:
    """Measure a request only until now: its answer lasts as long as the client wants."""
    request[_BEGUN] = time.perf_counter(), status


def request_metrics(role: str) -> Middleware:
    """A middleware that updates ``metrics.HTTP``. It has to be the first of the middlewares.

    The label for the route is its pattern, so ids in paths make no new series. If a client leaves
    before its reply, the status is 499, unless ``note_begun`` was called.
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
