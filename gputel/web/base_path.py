"""The path under which a reverse proxy shows a server, such as ``/gputel``.

A proxy either removes it from the paths that it passes on, and may tell it in X-Forwarded-Prefix,
or passes them as they are. Then ``--base-path`` says what to remove here. What a server answers at
``/gputel/x`` it also answers at ``/x``, for probes and for those who come without the proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from gputel.config.values import BASE_PATH as SHAPE

BASE_PATH: web.AppKey[str] = web.AppKey("base_path")
"""``--base-path`` of an application, or "" if it has none."""

MakeRequest = Callable[
    [
        RawRequestMessage,
        StreamReader,
        RequestHandler,
        AbstractStreamWriter,
        "asyncio.Task[None]",
    ],
    web.BaseRequest,
]

_REMOVED = "gputel_base_path"


def removing(base_path: str, make_request: MakeRequest) -> MakeRequest:
    """As ``make_request``, but without the base path in the address of the request."""

    def make(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        path = message.url.raw_path
        if not path.startswith(f"{base_path}/"):
            return make_request(message, payload, protocol, writer, task)
        query = message.url.raw_query_string
        url = URL.build(path=path.removeprefix(base_path), query_string=query, encoded=True)
        target = url.raw_path + (f"?{query}" if query else "")
        shorter = message._replace(path=target, url=url)
        request = make_request(shorter, payload, protocol, writer, task)
        request[_REMOVED] = base_path
        return request

    return make


def base_path_of(request: web.Request) -> str:
    """What a link to this server begins with, before a path such as ``/api/v1/gpus``; or ""."""
    parts = ",".join(request.headers.getall("X-Forwarded-Prefix", ())).split(",")
    forwarded = "".join(part.strip().rstrip("/") for part in parts)
    if not SHAPE.fullmatch(forwarded):  # also what leads to another site, as //x does
        forwarded = ""
    removed: str = request.get(_REMOVED, "")
    return forwarded + removed or request.app[BASE_PATH]
