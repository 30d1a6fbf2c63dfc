"""Counts and times every request, by role, route and status."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel import metrics
from gputel.web.errors import Handler


def request_metrics(role: str) -> Middleware:
    """A middleware that keeps ``metrics.HTTP``; put it first, outside the errors.

    A route is told by its pattern, so ids in paths make no series. A client that leaves before
    its reply counts with status 499.
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
            metrics.HTTP.note(role, route, status, time.perf_counter() - started)

    return middleware
