"""CORS: the allowed origins, whose web pages may read the answers."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.config.settings import ApiSettings
from gputel.web.errors import Handler
from gputel.web.headers.added import add_headers

_EXPOSED = (
    "ETag, Link, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Server-Timing"
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": (
        "Accept, Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-None-Match, "
        "Last-Event-ID"
    ),
    "Access-Control-Max-Age": "600",
}
ANY = "*"


def allowed_origins(settings: ApiSettings) -> frozenset[str]:
    """The allowed origins in the setting."""
    return frozenset(text.strip() for text in (settings.cors_origins or "").split(",")) - {""}


def cors_middleware(allowed: frozenset[str]) -> Middleware:
    """A middleware that answers preflight requests and sets the CORS headers.

    Put it before all middlewares that may refuse a request.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not allowed or origin is None:
            return await handler(request)
        if ANY in allowed:
            add_headers(request, {"Access-Control-Allow-Origin": ANY})
        else:
            add_headers(request, {"Vary": "Origin"})
            if origin not in allowed:
                return await handler(request)
            add_headers(request, {"Access-Control-Allow-Origin": origin})
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            add_headers(request, _PREFLIGHT)
            return web.Response(status=204)
        add_headers(request, {"Access-Control-Expose-Headers": _EXPOSED})
        return await handler(request)

    return middleware
