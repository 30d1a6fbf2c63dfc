"""Refusals of requests under ``/prometheus``, in the form that clients of Prometheus read.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview
"""

from __future__ import annotations

import logging

from aiohttp import web

from gputel.api.prometheus import json as answers
from gputel.errors import BadRequest, GputelError, RequestError, StoreUnavailable
from gputel.web.errors import Handler, http_message, shortened

log = logging.getLogger("gputel.api")

ROOT = "/prometheus"


@web.middleware
async def prometheus_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors under ROOT in Prometheus' form. Put it before all that may refuse a request."""
    if request.path != ROOT and not request.path.startswith(f"{ROOT}/"):
        return await handler(request)
    if "//" in request.path:
        return _without_empty_parts(request)
    try:
        return await handler(request)
    except Exception as error:
        return _refusal(request, error)


def _without_empty_parts(request: web.Request) -> web.Response:
    """Redirect to the path without empty parts, with the same method and body.

    The address is relative, so it is right behind a proxy that removes a part of the path.
    """
    parts = request.raw_path.partition("?")
    rest = parts[0][len(ROOT) + 1 :]
    up = "../" * rest.count("/")
    to = "/".join(filter(None, rest.split("/")))
    return web.Response(status=308, headers={"Location": up + to + parts[1] + parts[2]})


def _refusal(request: web.Request, error: Exception) -> web.Response:
    """The answer to an error. An unexpected error is logged with its traceback."""
    status, kind, message = (
        500,
        "internal",
        "unexpected error; the log of the server has the details",
    )
    headers: dict[str, str] = {}
    if isinstance(error, RequestError):
        kind = "bad_data" if isinstance(error, BadRequest) else error.code
        status, message, headers = error.status, error.message, {**error.headers}
    elif isinstance(error, StoreUnavailable):
        status, kind, message = 503, "unavailable", error.message
    elif isinstance(error, GputelError):
        message = error.message
    elif isinstance(error, web.HTTPException):
        kind = "not_found" if error.status == 404 else "bad_data"
        status, message = error.status, http_message(request, error)
        headers = {name: text for name, text in error.headers.items() if name == "Allow"}
    else:
        log.error("unexpected error while answering %s", request.path, exc_info=error)
    if status == 503:
        headers["Retry-After"] = "1"
    body = answers.error(kind, shortened(message))
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
