"""Headers that every response carries, or that a middleware wants in it, however it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

SHOWN = "gputel_token"
"""Where a request has the Token that let it in."""

_HEADERS = "gputel_response_headers"
_NO_SNIFF = "X-Content-Type-Options"
_REFUSED = (401, 403)

NO_SNIFF = MappingProxyType({_NO_SNIFF: "nosniff"})
"""What every response carries: browsers take it for nothing but its Content-Type."""

GUARDED = MappingProxyType(
    {
        **NO_SNIFF,
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
)
"""What those carry that browsers may show: data, errors. It runs nothing, and is in no frame."""


def add_headers(request: web.Request, headers: Mapping[str, str]) -> None:
    """Have the response to a request carry these headers, but for those that it sets itself."""
    request[_HEADERS] = {**request.get(_HEADERS, {}), **headers}


async def set_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set them; for ``app.on_response_prepare``."""
    for name, text in request.get(_HEADERS, {}).items():
        if name == "Vary" and name in response.headers:
            response.headers[name] += f", {text}"
        else:
            response.headers.setdefault(name, text)


async def guard_response(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set ``GUARDED``, unless the response has set what it needs; for ``on_response_prepare``.

    What a token let in, or kept out, is kept by no cache that others use.
    """
    headers = response.headers
    if _NO_SNIFF not in headers:
        headers.update(GUARDED)
    if response.status in _REFUSED:
        headers.setdefault("Cache-Control", "no-store")
    elif request.get(SHOWN) is not None:
        headers.setdefault("Cache-Control", "private, no-cache")
