"""A hot request for its handler, and the bytes of a reply to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, cast

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from gputel.broker.fast.head import Head
from gputel.broker.requests.exchange import Reply
from gputel.web.errors import refusal

_ONE_WRITE_BYTES = 65_536


class HotConnection(Protocol):
    """The connection of a hot request."""

    transport: asyncio.Transport | None

    def leave_room(self) -> None:
        """Release the room of the request's body."""

    def take_reply_room(self, size: int) -> None:
        """Reserve room for the reply until it is written. Raises Busy."""


class HotRequest:
    """The part of ``web.Request`` that the handlers of hot requests use."""

    __slots__ = ("_body", "content_type", "headers", "path", "protocol", "query")

    method = "POST"

    def __init__(self, head: Head, body: bytes, protocol: HotConnection) -> None:
        self._body = body
        self.path = head.path
        self.query = head.query
        self.headers: Mapping[str, str] = head.headers
        self.content_type = head.content_type
        self.protocol = protocol

    @property
    def content_length(self) -> int:
        """Size of the body in bytes."""
        return len(self._body)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport, or None when the connection is lost."""
        return self.protocol.transport

    async def read(self) -> bytes:
        """The whole body."""
        return self._body

    def let_go(self) -> None:
        """Release the body and its room."""
        self._body = b""
        self.protocol.leave_room()

    def reserve(self, size: int) -> None:
        """Reserve room for a reply of about ``size`` bytes until it is written. Raises Busy."""
        self.protocol.take_reply_room(size)


def refused(request: HotRequest, error: Exception) -> Reply:
    """The reply for an error that a handler raised."""
    response = refusal(cast(web.Request, request), error)
    return Reply(cast(bytes, response.body), response.content_type, response.status)


def reply_bytes(reply: Reply) -> list[bytes]:
    """Head and body; a large body is not copied. A 204 has no Content-Length, as HTTP requires."""
    head = _reply_head(reply.status, reply.content_type)
    length = "" if reply.status == 204 else f"Content-Length: {len(reply.body)}\r\n"
    text = f"{head}{length}Date: {rfc822_formatted_time()}\r\n\r\n"
    head_bytes = text.encode("latin-1")
    if len(reply.body) > _ONE_WRITE_BYTES:
        return [head_bytes, reply.body]
    return [head_bytes + reply.body]


@lru_cache(maxsize=64)
def _reply_head(status: int, content_type: str) -> str:
    response = Reply(b"x", content_type, status).response()
    fields = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return f"HTTP/1.1 {status} {response.reason}\r\n{fields}"
