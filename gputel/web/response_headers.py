"""Headers that a middleware wants in the response, whoever makes that, and however it is sent."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

_HEADERS = "gputel_response_headers"


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
