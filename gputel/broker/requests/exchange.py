"""One HTTP exchange: reads the body of a request, encodes and writes the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ParamSpec, Protocol, TypeVar, cast

from aiohttp import web

from gputel.broker.requests.encoding import encode
from gputel.config.settings import BrokerSettings
from gputel.errors import Busy
from gputel.mq.wire.protocol import JSON, MAX_ITEMS_BYTES, MSGPACK
from gputel.web.headers.added import NO_SNIFF
from gputel.web.server.intake import SMALL_BYTES, BodyIntake, BoundNames

P = ParamSpec("P")
T = TypeVar("T")

_LARGE_BYTES = 256 * 1024
_CONVERTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-converter")
_MSGPACK_NAMES = {MSGPACK, "application/x-msgpack", "application/vnd.msgpack"}


INTAKE = web.AppKey("intake", BodyIntake)
"""Room for the bodies of requests."""

REPLIES = web.AppKey("replies", BodyIntake)
"""Room for large replies until they are written."""

_LIMITS = BoundNames(
    "--message-max-bytes of the broker, and 16 MiB without payloads",
    "--requests-max-bytes of the broker",
    "--receive-timeout-s of the broker",
)


def make_intake(settings: BrokerSettings) -> BodyIntake:
    """The room for bodies or replies that the settings allow."""
    return BodyIntake(settings.requests_max_bytes, settings.receive_timeout_s, _LIMITS)


def request_type(request: web.Request) -> str:
    """The encoding of the request's body: MessagePack if the request says so, else JSON.

    Any other type means JSON, because curl sends ``application/x-www-form-urlencoded`` for every
    ``-d``.
    """
    return MSGPACK if request.content_type in _MSGPACK_NAMES else JSON


def reply_type(request: web.Request) -> str:
    """The encoding of the reply: the one in Accept, else that of the request."""
    accept = request.headers.get("Accept", "")
    return _accepted(accept) or request_type(request)


@lru_cache(maxsize=256)
def _accepted(accept: str) -> str | None:
    if any(name in accept for name in _MSGPACK_NAMES):
        return MSGPACK
    return JSON if JSON in accept else None


async def read_items(request: web.Request, settings: BrokerSettings) -> bytes:
    """The body of a request that carries no payload. Raises as ``read_body``."""
    return await read_body(request, min(settings.message_max_bytes, MAX_ITEMS_BYTES))


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The complete body. Raises PayloadTooLarge as early as possible, else as BodyIntake does."""
    if getattr(request, "content", None) is not None:
        return await request.app[INTAKE].receive(request, max_bytes)
    body = await request.read()  # the fast path has read it already
    if len(body) > max_bytes:
        raise _LIMITS.too_large(max_bytes)
    return body


def reserve(request: web.Request, size: int) -> None:
    """Reserve room for a reply of about ``size`` bytes until it is written. Raises Busy."""
    if size <= SMALL_BYTES:
        return
    if getattr(request, "content", None) is None:
        cast(_Hot, request).reserve(size)
        return
    replies = request.app[REPLIES]
    take_room(replies, size)
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda _: replies.leave(size))


def take_room(replies: BodyIntake, size: int) -> None:
    """Reserve room for a reply until ``leave``. Raises Busy."""
    if not replies.take(size):
        raise Busy(
            "large replies that other clients still read use all the memory for them "
            "(--requests-max-bytes): try again later"
        )


class _Hot(Protocol):
    def let_go(self) -> None: ...

    def reserve(self, size: int) -> None: ...


def let_go(request: web.Request) -> None:
    """Release the room of a request's body, which is no longer in memory."""
    if getattr(request, "content", None) is not None:
        request.app[INTAKE].let_go(request)
    else:
        cast(_Hot, request).let_go()


async def converted(size: int, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``convert``; in a thread when ``size`` bytes would block the event loop too long.

    One at a time: concurrent conversions would need more memory and be no faster.
    """
    if size < _LARGE_BYTES:
        return convert(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_CONVERTER, partial(convert, *args, **kwargs))


@dataclass(slots=True)
class Reply:
    """The reply of a handler, for aiohttp and for the fast path.

    ``undelivered`` is called when the client did not get all of it. Its argument is True if the
    client's machine took a part and then stopped.
    """

    body: bytes = b""
    content_type: str = JSON
    status: int = 200
    undelivered: Callable[[bool], None] | None = None

    def response(self) -> web.Response:
        """The reply as an aiohttp response."""
        if self.status == 204:
            return web.Response(status=204, headers=NO_SNIFF)
        headers = {**NO_SNIFF, "Retry-After": "1"} if self.status == 503 else NO_SNIFF
        return web.Response(
            status=self.status, body=self.body, content_type=self.content_type, headers=headers
        )


ReplyHandler = Callable[[web.Request], Awaitable[Reply]]


def encoded_reply(request: web.Request, value: object, status: int = 200) -> Reply:
    """A reply in the encoding that the request asks for."""
    content_type = reply_type(request)
    return Reply(encode(value, content_type), content_type, status)


def response(request: web.Request, value: object, status: int = 200) -> web.Response:
    """The same for a handler that only aiohttp calls."""
    return encoded_reply(request, value, status).response()


def route(handle: ReplyHandler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """An aiohttp handler that calls a handler which returns a Reply."""

    async def handler(request: web.Request) -> web.Response:
        reply = await handle(request)
        response = reply.response()
        if reply.undelivered is not None:
            await _deliver(request, response, reply.undelivered)
        return response

    return handler


async def _deliver(
    request: web.Request, response: web.Response, undelivered: Callable[[bool], None]
) -> None:
    """Write a complete reply. It is cancelled when the client leaves before the end."""
    transport = request.transport
    complete = begun = False
    try:
        if transport is not None and not transport.is_closing():
            # With an empty buffer limit, drain() waits until the system has taken all bytes.
            transport.set_write_buffer_limits(0)
            try:
                await response.prepare(request)
                await response.write_eof()
                await request.writer.drain()
                complete = not transport.is_closing()
            finally:
                begun = complete or request.protocol.writing_paused
    except ConnectionError:
        pass
    finally:
        if not complete:
            undelivered(begun)
