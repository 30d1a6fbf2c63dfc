"""One HTTP exchange: the body of a request in, the encoded reply out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from aiohttp import web

from gputel.errors import PayloadTooLarge
from gputel.mq.encoding import encode
from gputel.mq.protocol import JSON, MSGPACK

P = ParamSpec("P")
T = TypeVar("T")

Send = Callable[[web.Response], Awaitable[None]]
_LARGE_BYTES = 256 * 1024
_MSGPACK_NAMES = {MSGPACK, "application/x-msgpack", "application/vnd.msgpack"}


def request_type(request: web.Request) -> str:
    """The encoding of the request's body: MessagePack where it says so, else JSON.

    curl says ``application/x-www-form-urlencoded`` of whatever ``-d`` sends, so anything else is
    taken to be JSON.
    """
    return MSGPACK if request.content_type in _MSGPACK_NAMES else JSON


def reply_type(request: web.Request) -> str:
    """The encoding of the reply: as Accept names it, else that of the request."""
    accept = request.headers.get("Accept", "")
    if any(name in accept for name in _MSGPACK_NAMES):
        return MSGPACK
    return JSON if JSON in accept else request_type(request)


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The whole body. Raises PayloadTooLarge as early as that is known."""
    length = request.content_length
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes)
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(max_bytes) from None


async def converted(size: int, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``convert``, in a thread when ``size`` bytes would hold the event loop too long."""
    if size < _LARGE_BYTES:
        return convert(*args, **kwargs)
    return await asyncio.to_thread(convert, *args, **kwargs)


def reply(request: web.Request, value: object, status: int = 200) -> web.Response:
    """A reply in the encoding that the request asks for."""
    content_type = reply_type(request)
    return web.Response(status=status, body=encode(value, content_type), content_type=content_type)


class Sending:
    """The writing of one reply, and how far it came, cancelled or not.

    ``begun``: the client's machine took some of it and then no more for a while. ``whole``: it
    took all of it.
    """

    def __init__(self) -> None:
        self.begun = False
        self.whole = False

    async def send(self, request: web.Request, response: web.Response) -> None:
        """Write the reply to its last byte. Cancelled when the client goes away before that."""
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        # With no room in the transport's buffer, drain() waits until the system has taken it all.
        transport.set_write_buffer_limits(0)
        send: Send | None = getattr(request, "send", None)  # of the fast path's requests
        try:
            if send is not None:
                await send(response)
            else:
                await response.prepare(request)
                await response.write_eof()
                await request.writer.drain()
            self.whole = not transport.is_closing()
        except ConnectionError:
            return
        finally:
            self.begun = self.whole or request.protocol.writing_paused


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is over {max_bytes} bytes (--message-max-bytes of the broker): send less at once"
    )
