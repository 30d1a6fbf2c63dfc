"""A hot request as its handler sees it, and the bytes of a reply to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from gputel.broker.exchange import Answer
from gputel.broker.request_head import Head
from gputel.web.errors import refusal


class HotRequest:
    """What handlers ask of a request, as far as the hot ones do."""

    __slots__ = ("_body", "content_type", "headers", "path", "protocol", "query")

    method = "POST"

    def __init__(self, head: Head, body: bytes, protocol: web.RequestHandler) -> None:
        self._body = body
        self.path = head.path
        self.query = head.query
        self.headers: Mapping[str, str] = head.headers
        self.content_type = head.content_type
        self.protocol = protocol

    @property
    def content_length(self) -> int:
        """Bytes of the body."""
        return len(self._body)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, or None once it is lost."""
        return self.protocol.transport

    async def read(self) -> bytes:
        """The whole body."""
        return self._body


def refused(request: HotRequest, error: Exception) -> Answer:
    """The answer to what a handler raised."""
    response = refusal(cast(web.Request, request), error)
    return Answer(cast(bytes, response.body), response.content_type, response.status)


def whole_reply(given: Answer) -> bytes:
    """Head and body. A 204 has no length, as HTTP wants it."""
    head = _reply_head(given.status, given.content_type)
    length = "" if given.status == 204 else f"Content-Length: {len(given.body)}\r\n"
    text = f"{head}{length}Date: {rfc822_formatted_time()}\r\n\r\n"
    return text.encode("latin-1") + given.body


@lru_cache(maxsize=64)
def _reply_head(status: int, content_type: str) -> str:
    response = Answer(b"x", content_type, status).response()
    fields = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 {status} {response.reason}\r\n{fields}"
