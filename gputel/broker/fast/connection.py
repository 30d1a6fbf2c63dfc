"""The fast path: answers hot requests without aiohttp's parser, router and writer.

It is a subclass of aiohttp's connection that looks at the bytes first. A hot request (a POST to one
of a few paths, with nothing unusual in its head) is read here and answered by the handler of its
route, and its reply is written here. All other bytes go to aiohttp unchanged. After an unusual or
slow request, the rest of its connection goes to aiohttp too.

It uses internals of the pinned aiohttp: ``_waiter`` (set while aiohttp has no request),
``_messages``, ``_buffer_paused``, ``_close``, ``_force_close``, ``_next_keepalive_close_time``,
``_drain_helper``. ``--plain-http`` turns it off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from aiohttp import web

from gputel import metrics
from gputel.broker.fast.eager import start
from gputel.broker.fast.head import MAX_HEAD_BYTES, Head, parse_head
from gputel.broker.fast.request import HotRequest, refused, reply_bytes
from gputel.broker.requests.exchange import INTAKE, REPLIES, Reply, ReplyHandler, take_room
from gputel.errors import RequestError
from gputel.web.access.access import ACCESS, Access
from gputel.web.access.own_names import OwnNames
from gputel.web.access.site import NAMES
from gputel.web.access.tokens import Scope
from gputel.web.server.connection import ServerConnection
from gputel.web.server.intake import SMALL_BYTES, BodyIntake

_MAX_BODY_BYTES = 4 * 1024 * 1024  # a larger one is left to aiohttp
_MAX_WAITING_BYTES = 64 * 1024  # of pipelined requests
_SLOW_BODY_S = 5.0
_AT_ONCE = 32  # pipelined requests answered before other connections get a turn

HOT = web.AppKey("hot", dict[str, ReplyHandler])
"""The handler of a POST to each hot path."""


def fast_connections(app: web.Application) -> Callable[[web.Server], FastPath]:
    """A factory of connections for ``app`` that answer its hot routes on the fast path."""
    hot = app[HOT], app[INTAKE], app[REPLIES], app[ACCESS], app[NAMES]

    def connection(server: web.Server) -> FastPath:
        return FastPath(*hot, server, loop=asyncio.get_running_loop(), **server._kwargs)

    return connection


class FastPath(ServerConnection):
    """One connection."""

    __slots__ = (
        "_access",
        "_hot",
        "_intake",
        "_latched",
        "_missing",
        "_names",
        "_parts",
        "_replies",
        "_reply_room",
        "_room",
        "_routes",
        "_serving",
        "_shared",
        "_slow",
        "_waiting_bytes",
    )

    def __init__(
        self,
        routes: Mapping[str, ReplyHandler],
        intake: BodyIntake,
        replies: BodyIntake,
        access: Access,
        names: OwnNames,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._routes = routes
        self._intake = intake
        self._replies = replies
        self._reply_room = 0  # bytes reserved for a reply until it is written
        self._access = access
        self._names = names
        self._room = 0  # bytes that the intake reserves for the body of a request
        self._latched = False  # whether aiohttp gets all further bytes
        self._shared = False  # whether aiohttp got some bytes
        self._parts: list[bytes] = []  # bytes of an incomplete request, or not parsed yet
        self._missing = 0  # bytes of a body to come
        self._waiting_bytes = 0
        self._slow: asyncio.TimerHandle | None = None
        self._serving = False  # whether a request is being answered
        self._hot: asyncio.Task[None] | None = None  # the task that answers it, if it had to wait

    # ------------------------------------------------------------------ reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set no write buffer: the transport then reports at once if the system took all bytes."""
        super().connection_made(transport)
        self._latched = self.crowded is not None
        cast(asyncio.Transport, transport).set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; pass on to aiohttp what is not hot."""
        if self._latched:
            super().data_received(data)
        elif self._force_close or self._close:
            return
        elif self._serving:
            self._wait_in_line(data)
        elif self._missing > 0:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing <= 0:
                self._look(self._joined())
            elif self._room and not self._take_room(self._room + len(data)):
                self._give_up(self._joined())
        else:
            self._look(data)

    def _look(self, data: bytes) -> None:
        request = self._request_in(data)
        if request is not None:
            self._serving = True
            self._hot = start(self._serve(request), self._loop)

    def _request_in(self, data: bytes) -> HotRequest | None:
        """The hot request at the start of ``data``; None: the bytes were kept or passed on."""
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        head = parse_head(data[:end]) if end >= 4 else None
        if head is None or self._busy_elsewhere() or not self._lets_in(head, len(data) - end):
            self._give_up(data)
            return None
        request_end = end + head.length
        if len(data) < request_end:
            self._wait_for(data, request_end)
            return None
        handler = self._routes.get(head.path) if head.hot else None
        if handler is None:
            if len(data) > request_end:
                self._give_up(data)
            else:
                self._shared = True
                self.leave_room()
                super().data_received(data)
            return None
        if len(data) > request_end:
            self._wait_in_line(data[request_end:])
        return HotRequest(head, data[end:request_end], self)

    def _busy_elsewhere(self) -> bool:
        """Whether aiohttp still answers an earlier request."""
        return self._shared and (self._waiter is None or bool(self._messages))

    def _lets_in(self, head: Head, received: int) -> bool:
        size = head.length
        if head.hot and head.path in self._routes and not self._may(head):
            return False  # aiohttp writes the refusal
        if size <= SMALL_BYTES:
            return True
        return size <= _MAX_BODY_BYTES and self._take_room(max(1, min(received, size)))

    def _take_room(self, received: int) -> bool:
        """Reserve room for the received part of a larger body; returns whether there is room."""
        more = received - self._room
        if more > 0:
            if not self._intake.take(more):
                return False
            self._room = received
        return True

    def _may(self, head: Head) -> bool:
        if not self._names.includes(head.host):
            return False
        try:
            self._access.check(head.authorization, Scope.WRITE)
        except RequestError:
            return False
        return True

    def leave_room(self) -> None:
        """Release the room of a request's body."""
        if self._room:
            self._intake.leave(self._room)
            self._room = 0

    def take_reply_room(self, size: int) -> None:
        """Reserve room for the reply until it is written. Raises Busy."""
        take_room(self._replies, size)
        self._reply_room = size

    def _give_up(self, data: bytes) -> None:
        self._latched = True
        self.leave_room()
        super().data_received(data)

    def _wait_for(self, data: bytes, request_end: int) -> None:
        self._parts = [data]
        self._missing = request_end - len(data)
        self._slow = self._loop.call_later(_SLOW_BODY_S, self._too_slow)

    def _too_slow(self) -> None:
        self._slow = None
        self._give_up(self._joined())

    def _joined(self) -> bytes:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        data = b"".join(self._parts)
        self._parts = []
        self._missing = self._waiting_bytes = 0
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        return data

    def _wait_in_line(self, data: bytes) -> None:
        self._parts.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MAX_WAITING_BYTES and not self._buffer_paused:
            self._pause_reading_for_buffer()

    @property
    def idle(self) -> bool:
        """Whether nothing is lost when the connection is closed."""
        return not self._serving and self._missing <= 0 and super().idle

    # ------------------------------------------------------------------ answering

    async def _serve(self, request: HotRequest | None) -> None:
        """Answer one request, and the pipelined ones after it, in order."""
        answered = 0
        try:
            while request is not None and not self._force_close:
                await self._answer(request)
                self.leave_room()
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                if self._close or not self._parts:
                    break
                answered += 1
                if answered % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                request = self._request_in(self._joined())
        except Exception as error:
            self.log_exception("unexpected error while answering", exc_info=error)
            self.force_close()
        finally:
            if not self._missing:
                self.leave_room()
            self._serving = False
            self._hot = None
            if self._close:
                super().close()

    async def _answer(self, request: HotRequest) -> None:
        started = time.perf_counter()
        status = 499
        try:
            try:
                reply = await self._routes[request.path](cast(web.Request, request))
            except Exception as error:
                reply = refused(request, error)
            status = reply.status
            await self._write(reply)
        finally:
            if self._reply_room:
                self._replies.leave(self._reply_room)
                self._reply_room = 0
            metrics.HTTP.note("broker", request.path, status, time.perf_counter() - started)

    async def _write(self, reply: Reply) -> None:
        """Write a complete reply at once, and wait until the system has taken it."""
        transport = self.transport
        complete = begun = False
        try:
            if transport is None or transport.is_closing():
                return
            parts = reply_bytes(reply)
            transport.write(parts[0]) if len(parts) == 1 else transport.writelines(parts)
            if self.writing_paused:
                begun = True
                await self._drain_helper()
            complete = not transport.is_closing()
        except ConnectionError:
            pass  # the client has left
        finally:
            if not complete and reply.undelivered is not None:
                reply.undelivered(begun)

    # ------------------------------------------------------------------ the end

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the running request."""
        self._joined()
        if not self._serving:
            self.leave_room()
        super().connection_lost(exc)
        self._cancel()

    def close(self) -> None:
        """Close the connection after the running request."""
        self._close = True
        if not self._serving:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Let the running request end within ``timeout``; then close."""
        if self._hot is not None:
            await asyncio.wait([self._hot], timeout=timeout)
        self._cancel()
        await super().shutdown(timeout)

    def _cancel(self) -> None:
        if self._hot is not None:  # with call_soon: see eager.start
            self._loop.call_soon(self._hot.cancel)

    def _process_keepalive(self) -> None:
        if self._serving:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()
