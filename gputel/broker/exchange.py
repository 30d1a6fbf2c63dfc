"""One HTTP exchange: the body of a request in, the encoded reply out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ParamSpec, TypeVar

from aiohttp import web

from gputel.broker.intake import INTAKE, TOLD
from gputel.mq.encoding import encode
from gputel.mq.protocol import JSON, MSGPACK

P = ParamSpec("P")
T = TypeVar("T")

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
    return _accepted(accept) or request_type(request)


@lru_cache(maxsize=256)
def _accepted(accept: str) -> str | None:
    if any(name in accept for name in _MSGPACK_NAMES):
        return MSGPACK
    return JSON if JSON in accept else None


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The whole body. Raises PayloadTooLarge as early as that is known, else as Intake does."""
    if getattr(request, "content", None) is not None:
        return await request.app[INTAKE].whole(request, max_bytes)
    body = await request.read()  # the fast path has it already
    if len(body) > max_bytes:
        raise TOLD.too_large(max_bytes)
    return body


async def converted(size: int, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``convert``, in a thread when ``size`` bytes would hold the event loop too long."""
    if size < _LARGE_BYTES:
        return convert(*args, **kwargs)
    return await asyncio.to_thread(convert, *args, **kwargs)


@dataclass(slots=True)
class Answer:
    """What a handler answers, whichever way its request came.

    ``undelivered`` is called when the client did not get all of it, with whether its machine took
    some and then no more for a while.
    """

    body: bytes = b""
    content_type: str = JSON
    status: int = 200
    undelivered: Callable[[bool], None] | None = None

    def response(self) -> web.Response:
        """The same for aiohttp."""
        if self.status == 204:
            return web.Response(status=204)
        headers = {"Retry-After": "1"} if self.status == 503 else None
        return web.Response(
            status=self.status, body=self.body, content_type=self.content_type, headers=headers
        )


Answering = Callable[[web.Request], Awaitable[Answer]]


def answer(request: web.Request, value: object, status: int = 200) -> Answer:
    """An answer in the encoding that the request asks for."""
    content_type = reply_type(request)
    return Answer(encode(value, content_type), content_type, status)


def reply(request: web.Request, value: object, status: int = 200) -> web.Response:
    """The same, for handlers that are aiohttp's alone."""
    return answer(request, value, status).response()


def route(answering: Answering) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler of aiohttp's around one that gives an Answer."""

    async def handler(request: web.Request) -> web.Response:
        given = await answering(request)
        response = given.response()
        if given.undelivered is not None:
            await _deliver(request, response, given.undelivered)
        return response

    return handler


async def _deliver(
    request: web.Request, response: web.Response, undelivered: Callable[[bool], None]
) -> None:
    """Write a reply to its last byte. Cancelled when the client goes away before that."""
    transport = request.transport
    whole = begun = False
    try:
        if transport is not None and not transport.is_closing():
            # With no room in its buffer, drain() waits until the system has taken it all.
            transport.set_write_buffer_limits(0)
            try:
                await response.prepare(request)
                await response.write_eof()
                await request.writer.drain()
                whole = not transport.is_closing()
            finally:
                begun = whole or request.protocol.writing_paused
    except ConnectionError:
        pass
    finally:
        if not whole:
            undelivered(begun)
