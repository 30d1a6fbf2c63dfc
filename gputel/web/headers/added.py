"""Headers that all responses have, and headers that a middleware adds to a response."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

SHOWN = "gputel_token"
"""The key of a request for its AccessToken."""

_HEADERS = "gputel_response_headers"
_NO_SNIFF = "X-Content-Type-Options"
_REFUSED = (401, 403)

NO_SNIFF = MappingProxyType({_NO_SNIFF: "nosniff"})
"""Headers of all responses: browsers must not guess another Content-Type."""

GUARDED = MappingProxyType(
    {
        **NO_SNIFF,
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
)
"""Headers of data and errors: a browser that shows them runs no script and allows no frame."""


def add_headers(request: web.Request, headers: Mapping[str, str]) -> None:
    """Add headers to the response to a request, except those that the response sets itself."""
    request[_HEADERS] = {**request.get(_HEADERS, {}), **headers}


async def set_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set the headers of ``add_headers``; for ``app.on_response_prepare``."""
    for name, text in request.get(_HEADERS, {}).items():
        if name == "Vary" and name in response.headers:
            response.headers[name] += f", {text}"
        else:
            response.headers.setdefault(name, text)


async def guard_response(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set ``GUARDED``, unless the response has headers of its own; for ``on_response_prepare``.

    Shared caches must not store a response that depends on a token.
    """
    headers = response.headers
    if _NO_SNIFF not in headers:
        headers.update(GUARDED)
    if response.status in _REFUSED:
        headers.setdefault("Cache-Control", "no-store")
    elif request.get(SHOWN) is not None:
        headers.setdefault("Cache-Control", "private, no-cache")
