"""The fast path: answers hot requests without aiohttp's parser, router and writer.

It is the protocol of a connection. A hot request (a POST to one of a few paths, with nothing
unusual in its head) is read here and answered by the handler of its route, and its reply is written
here. aiohttp gets the rest, through a connection of its own:

* Another request without anything unusual, if it has come complete, is lent to it: when its reply
  is written, the connection is ours again.
* If anything is unusual (an unknown header, a chunked body, a slow one), the connection is handed
  over for good.

``--plain-http`` turns it off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

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
from gputel.web.server.listener import SHUTDOWN_S, MakePlain
from gputel.web.server.patience import Patience, ReplyWatch, probe_peer

log = logging.getLogger("gputel.broker")

_MAX_BODY_BYTES = 4 * 1024 * 1024  # a larger one is left to aiohttp
_MAX_WAITING_BYTES = 64 * 1024  # of pipelined requests
_SLOW_BODY_S = 5.0
_AT_ONCE = 32  # pipelined requests answered before other connections get a turn

HOT = web.AppKey("hot", dict[str, ReplyHandler])
"""The handler of a POST to each hot path."""


@dataclass(frozen=True)
class HotRoutes:
    """What all connections of an application share; ``open`` are those that aiohttp has not."""

    handlers: dict[str, ReplyHandler]
    intake: BodyIntake
    replies: BodyIntake
    access: Access
    names: OwnNames
    open: set[FastPath]

    @classmethod
    def of(cls, app: web.Application) -> HotRoutes:
        """The hot routes of ``app``. Their connections are closed when it shuts down."""
        routes = cls(app[HOT], app[INTAKE], app[REPLIES], app[ACCESS], app[NAMES], set())
        app.on_shutdown.append(routes._close)
        return routes

    def handler_of(self, head: Head) -> ReplyHandler | None:
        """What answers a hot request; None if it is not hot."""
        return self.handlers.get(head.path) if head.method == "POST" else None

    def connection(self, make_plain: MakePlain, patience: Patience) -> FastPath:
        """A new connection."""
        return FastPath(self, make_plain, patience)

    async def _close(self, _app: web.Application) -> None:
        """Close all, the busy ones after their requests, as far as these end in time."""
        for connection in list(self.open):
            connection.close()
        tasks = [connection.task for connection in self.open if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_S)
        for connection in list(self.open):
            connection.abandon()


class FastPath(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "__weakref__",
        "_closing",
        "_drained",
        "_idle_until",
        "_lent",
        "_loop",
        "_make_plain",
        "_missing",
        "_parts",
        "_patience",
        "_plain",
        "_reading_paused",
        "_reply_room",
        "_room",
        "_routes",
        "_serving",
        "_slow",
        "_timer",
        "_waiting_bytes",
        "_watch",
        "_writing_paused",
        "answered",
        "crowded",
        "left",
        "task",
        "transport",
        "wire",
    )

    def __init__(self, routes: HotRoutes, make_plain: MakePlain, patience: Patience) -> None:
        self._routes = routes
        self._make_plain = make_plain
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._watch = ReplyWatch(patience)
        self._plain: ServerConnection | None = None  # the one of aiohttp that has the transport
        self.crowded: str | None = None  # the reason if it gets only a refusal
        self.left: Callable[[], None] | None = None  # called at the end
        self.wire: asyncio.Transport | None = None  # the transport, also while it is being closed
        self.transport: asyncio.Transport | None = None  # until the connection is lost
        self._lent = False
        self.answered = False
        self._idle_until = 0.0  # loop time
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False  # whether it is closed after the running request
        self._room = 0  # bytes that the intake reserves for the body of a request
        self._reply_room = 0  # bytes reserved for a reply until it is written
        self._parts: list[bytes] = []  # bytes of an incomplete request, or not parsed yet
        self._missing = 0  # bytes of a body to come
        self._waiting_bytes = 0
        self._slow: asyncio.TimerHandle | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._serving = False  # whether a request is being answered
        self.task: asyncio.Task[None] | None = None  # that answers it, if it had to wait

    # ------------------------------------------------------------------ reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set no write buffer: the transport then reports at once if the system took all bytes."""
        self.wire = self.transport = cast(asyncio.Transport, transport)
        self.wire.set_write_buffer_limits(0)
        if self.crowded is not None:
            self._hand_over(b"")
            return
        probe_peer(transport)
        self._routes.open.add(self)
        self._wait_for_request(min(self._patience.head_s, self._patience.idle_s))

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; pass on to aiohttp what is not hot."""
        if self._closing:
            return
        if self._serving:
            self._wait_in_line(data)
        elif self._missing > 0:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing <= 0:
                self._look(self._joined())
            elif self._room and not self._take_room(self._room + len(data)):
                self._hand_over(self._joined())
        else:
            self._look(data)

    def _look(self, data: bytes) -> None:
        request = self._next_request(data)
        if request is not None:
            self._serving = True
            self.task = start(self._serve(request), self._loop)

    def _next_request(self, data: bytes) -> HotRequest | None:
        """The hot request at the start of ``data``; None: the bytes were kept or passed on."""
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        head = parse_head(data[:end]) if end >= 4 else None
        handler = self._routes.handler_of(head) if head is not None else None
        if head is None or not self._admit(head, handler is not None, len(data) - end):
            self._hand_over(data)
            return None
        request_end = end + head.length
        if len(data) < request_end:
            self._wait_for_body(data, request_end)
            return None
        if handler is None:
            self._lend(data) if len(data) == request_end else self._hand_over(data)
            return None
        if len(data) > request_end:
            self._wait_in_line(data[request_end:])
        return HotRequest(head, data[end:request_end], self)

    def _admit(self, head: Head, hot: bool, received: int) -> bool:
        """Check the access of a request, and reserve room for its body; False: for aiohttp."""
        size = head.length
        if hot and not self._may(head):
            return False  # aiohttp writes the refusal
        if size <= SMALL_BYTES:
            return True
        return size <= _MAX_BODY_BYTES and self._take_room(max(1, min(received, size)))

    def _take_room(self, received: int) -> bool:
        """Reserve room for the received part of a larger body; returns whether there is room."""
        more = received - self._room
        if more > 0:
            if not self._routes.intake.take(more):
                return False
            self._room = received
        return True

    def _may(self, head: Head) -> bool:
        if not self._routes.names.includes(head.host):
            return False
        try:
            self._routes.access.check(head.authorization, Scope.WRITE)
        except RequestError:
            return False
        return True

    def leave_room(self) -> None:
        """Release the room of a request's body."""
        if self._room:
            self._routes.intake.leave(self._room)
            self._room = 0

    def take_reply_room(self, size: int) -> None:
        """Reserve room for the reply until it is written. Raises Busy."""
        take_room(self._routes.replies, size)
        self._reply_room = size

    def _wait_for_body(self, data: bytes, request_end: int) -> None:
        self._parts = [data]
        self._missing = request_end - len(data)
        self._slow = self._loop.call_later(_SLOW_BODY_S, self._too_slow)

    def _too_slow(self) -> None:
        self._slow = None
        self._hand_over(self._joined())

    def _joined(self) -> bytes:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        data = b"".join(self._parts)
        self._parts = []
        self._missing = self._waiting_bytes = 0
        if self._reading_paused and self.wire is not None:
            self._reading_paused = False
            self.wire.resume_reading()
        return data

    def _wait_in_line(self, data: bytes) -> None:
        self._parts.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MAX_WAITING_BYTES and not self._reading_paused:
            self._reading_paused = True
            cast(asyncio.Transport, self.wire).pause_reading()

    # ------------------------------------------------------------------ what aiohttp answers

    def _hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp for good."""
        wire = cast(asyncio.Transport, self.wire)
        self.leave_room()
        if not wire.is_closing():
            plain = self._plain_connection()
            plain.left = self.left
            wire.set_protocol(plain)
            plain.connection_made(wire)
            plain.data_received(data)

    def _lend(self, request: bytes) -> None:
        """Let aiohttp answer one complete request; what comes meanwhile waits in line."""
        self.leave_room()
        self._lent = self._serving = True
        plain = self._plain_connection()
        plain.replied = self._take_back
        plain.connection_made(cast(asyncio.Transport, self.wire))
        plain.data_received(request)

    def _plain_connection(self) -> ServerConnection:
        self._stop_timer()
        self._routes.open.discard(self)  # from now on the server of aiohttp closes it
        self._plain = self._make_plain()
        self._plain.crowded = self.crowded
        return self._plain

    def _take_back(self) -> None:
        """Go on after the reply of aiohttp."""
        plain, wire = self._plain, cast(asyncio.Transport, self.wire)
        if plain is None or wire.is_closing():
            return
        if not plain.idle:  # aiohttp ends the request within a few turns of the event loop
            self._loop.call_soon(self._take_back)
            return
        plain.release()
        self._plain = None
        self._lent = self._serving = False
        self._routes.open.add(self)
        self._note_answered()
        self._wait_for_request(self._patience.idle_s)
        if self._writing_paused:
            self._watch.start(wire)
        if self._closing:
            self.close()
        elif self._parts:
            self._look(self._joined())

    # ------------------------------------------------------------------ idle

    @property
    def idle(self) -> bool:
        """Whether nothing is lost when the connection is closed."""
        if self._plain is not None and not self._lent:
            return self._plain.idle
        return not self._serving and self._missing <= 0

    @property
    def idle_since(self) -> float:
        """A number that grows with the time at which it became idle."""
        return self._idle_until if self._plain is None else self._plain.idle_since

    def _note_answered(self) -> None:
        self.answered = True
        self._idle_until = self._loop.time() + self._patience.idle_s

    def _wait_for_request(self, wait_s: float) -> None:
        self._idle_until = self._loop.time() + wait_s
        self._timer = self._loop.call_at(self._idle_until, self._close_idle)

    def _close_idle(self) -> None:
        now = self._loop.time()
        if not self.idle:
            self._idle_until = now + self._patience.idle_s
        if now < self._idle_until:
            self._timer = self._loop.call_at(self._idle_until, self._close_idle)
        elif self.wire is not None:
            if not self.answered:
                metrics.HTTP_CONNECTIONS_CLOSED.labels("late").inc()
            self.wire.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ------------------------------------------------------------------ answering

    async def _serve(self, request: HotRequest | None) -> None:
        """Answer one request, and the pipelined ones after it, in order."""
        answered = 0
        try:
            while request is not None:
                await self._answer(request)
                self.leave_room()
                self._note_answered()
                if self._closing or not self._parts:
                    break
                answered += 1
                if answered % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                request = self._next_request(self._joined())
        except Exception:
            log.exception("unexpected error while answering")
            self._closing = True
        finally:
            if not self._missing:
                self.leave_room()
            self._serving = self._lent
            self.task = None
            if self._closing and self._plain is None:
                self.close()

    async def _answer(self, request: HotRequest) -> None:
        started = time.perf_counter()
        status = 499
        try:
            try:
                reply = await self._routes.handlers[request.path](cast(web.Request, request))
            except Exception as error:
                reply = refused(request, error)
            status = reply.status
            await self._write(reply)
        finally:
            if self._reply_room:
                self._routes.replies.leave(self._reply_room)
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
            if self._writing_paused:
                begun = True
                self._drained = self._loop.create_future()
                await self._drained
            complete = not transport.is_closing()
        except ConnectionError:
            pass  # the client has left
        finally:
            if not complete and reply.undelivered is not None:
                reply.undelivered(begun)

    def pause_writing(self) -> None:
        """Watch the peer: it does not take its reply as fast as it is written."""
        self._writing_paused = True
        if self._plain is not None:
            self._plain.pause_writing()
        else:
            self._watch.start(cast(asyncio.Transport, self.wire))

    def resume_writing(self) -> None:
        """Go on: the peer has taken what was written."""
        self._writing_paused = False
        if self._plain is not None:
            self._plain.resume_writing()
        self._watch.stop()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # ------------------------------------------------------------------ the end

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the running request."""
        self.transport = None
        if self._plain is not None:
            self._plain.connection_lost(exc)
        self._joined()
        self._stop_timer()
        self._watch.stop()
        if not self._serving:
            self.leave_room()
        self._routes.open.discard(self)
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the client has left"))
        self._cancel()
        if self.left is not None:
            self.left()

    def close(self) -> None:
        """Close the connection after the running request."""
        self._closing = True
        if not self._serving and self.wire is not None:
            self.wire.close()

    def abandon(self) -> None:
        """Close the connection, and cancel its request."""
        self._cancel()
        if self.wire is not None:
            self.wire.close()

    def _cancel(self) -> None:
        if self.task is not None:  # with call_soon: see eager.start
            self._loop.call_soon(self.task.cancel)
