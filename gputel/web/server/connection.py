"""One connection of a server: that of aiohttp, with limits on the time that its peer takes."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from gputel import metrics
from gputel.web.errors import error_response, http_refusal
from gputel.web.headers.added import GUARDED

log = logging.getLogger("gputel.web")

LEAST_BYTES_PER_S = 64 * 1024
"""A peer that sends a body or takes a reply more slowly than this on average is cut off."""

_MESSAGE_CHARS = 200
_CROWDED_S = 2.0
_TICK_S = 0.002
_QUEUED = getattr(termios, "TIOCOUTQ", None) if sys.platform == "linux" else None
_PROBES = (
    (6, "TCP_KEEPCNT"),
    (10, "TCP_KEEPINTVL"),
    (60, "TCP_KEEPIDLE"),
)  # a dead peer is detected within 2 minutes


class ServerConnection(web.RequestHandler):
    """Cuts off a peer that does not take its reply, and answers malformed HTTP in JSON.

    ``reply_s`` is the number of seconds in which a peer has to take its reply, or as much of a
    large reply as ``reply_bytes_per_s`` gives for that time; None means no limit. ``head_s`` is the
    number of seconds for the first head of a request, and for the rest of each head that has begun.
    If there are too many connections, ``crowded`` has the reason, and the peer gets one reply.
    ``left`` is called when the connection is closed.
    """

    __slots__ = (
        "__weakref__",
        "_head",
        "_partial",
        "_taking",
        "_untaken",
        "_unused_until",
        "crowded",
        "head_s",
        "left",
        "reply_bytes_per_s",
        "reply_s",
        "wire",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reply_s: float | None = None
        self.reply_bytes_per_s: float = LEAST_BYTES_PER_S
        self.head_s = 0.0
        self.crowded: str | None = None
        self.left: Callable[[], None] | None = None
        self.wire: asyncio.Transport | None = None  # the transport, also while it is being closed
        self._head: asyncio.TimerHandle | None = None
        self._partial = False  # whether ``_head`` waits for the rest of a head
        self._unused_until = 0.0
        self._taking: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes of replies not yet taken at the last look

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timers, and have the system check whether the machine of the peer is alive."""
        super().connection_made(transport)
        self.wire = cast(asyncio.Transport, transport)
        self._next_keepalive_close_time -= (
            _TICK_S  # so that no reply at this moment sets the same time
        )
        self._unused_until = self._next_keepalive_close_time
        self._expect_head()
        sock = transport.get_extra_info("socket")
        for value, name in _PROBES:
            option = getattr(socket, name, None)
            if option is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def data_received(self, data: bytes) -> None:
        """Read on. Stop waiting for a body whose framing is not valid."""
        super().data_received(data)
        if self._messages:
            self.head_came()
        elif data and not self._partial:
            self._part_came()
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            bodies = [body for _, body in self._messages]
            if self._current_request is not None:
                bodies.append(self._current_request.content)
            for body in bodies:
                if not body.is_eof():
                    body.set_exception(web.RequestPayloadError("no chunk where one must be"))

    def pause_writing(self) -> None:
        """Watch the peer: it does not take its reply as fast as it is written."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop watching: the peer has taken what was written."""
        super().resume_writing()
        self._unwatch()

    @property
    def idle(self) -> bool:
        """Whether it can be closed without loss: no request is being handled."""
        if self.wire is None or self.transport is None:
            return True  # in a TLS handshake, or being closed
        return self._waiter is not None and not self._messages

    @property
    def answered(self) -> bool:
        """Whether one of its requests has been answered."""
        return self.idle_since != self._unused_until

    @property
    def idle_since(self) -> float:
        """A number that grows with the time at which it became idle."""
        return self._next_keepalive_close_time

    def head_came(self) -> None:
        """Note that the head of a request is complete."""
        self._partial = False
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _part_came(self) -> None:
        """Note the beginning of a head, unless a request is being handled."""
        if self._waiter is not None or not self._request_count:
            self._partial = True
            if self._head is None:
                self._expect_head()

    def _expect_head(self) -> None:
        if self.head_s:
            wait_s = min(self.head_s, _CROWDED_S) if self.crowded else self.head_s
            self._head = self._loop.call_later(wait_s, self._late)

    def _late(self) -> None:
        """Close it, unless the head came unseen, as heads of the fast path do."""
        self._head = None
        if self.idle and (not self.answered or self._partial):
            metrics.HTTP_CONNECTIONS_CLOSED.labels("late").inc()
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop all timers."""
        self._unwatch()
        self.head_came()
        super().connection_lost(exc)
        if self.left is not None:
            self.left()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse malformed HTTP in the form of all errors, then close."""
        if status >= 500 or request.writer.output_size > 0:
            fault = super().handle_error(request, status, exc, message)
            fault.headers.update(GUARDED)
            return fault
        reason = " ".join((message or "malformed").split())[:_MESSAGE_CHARS]
        log.debug("refused malformed HTTP from %s: %s", request.remote, reason)
        response = error_response(status, "bad_request", _bad_request_message(exc, reason), GUARDED)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write a reply. A refusal by aiohttp itself gets the form of all errors."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = http_refusal(request, resp)
        if self.crowded and not resp.prepared:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an error of the server. Errors of clients are logged at debug level."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.debug(*args, **kw)
        else:
            super().log_exception(*args, **kw)

    def _watch(self) -> None:
        if self.transport is not None and self.reply_s is not None:
            self._untaken = untaken(self.transport)
            self._taking = self._loop.call_later(self.reply_s, self._look_again, self.reply_s)

    def _unwatch(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _look_again(self, reply_s: float) -> None:
        transport = self.transport
        if transport is None:
            return
        taken = self._untaken - untaken(transport)
        if taken < max(1, self.reply_bytes_per_s * reply_s):
            metrics.HTTP_CONNECTIONS_CLOSED.labels("stuck").inc()
            log.info("closed a connection: its peer, %s, does not take its reply", self.peername)
            transport.abort()
        else:
            self._watch()


def untaken(transport: asyncio.Transport) -> int:
    """Bytes written that have not reached the machine of the peer, as far as known."""
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or _QUEUED is None:
        return size
    try:
        answer = fcntl.ioctl(sock.fileno(), _QUEUED, bytes(4))
    except OSError:
        return size
    return size + int.from_bytes(answer, sys.byteorder)


def _bad_request_message(error: BaseException | None, reason: str) -> str:
    if isinstance(error, LineTooLong):
        return (
            f"the address or a header is over {error.args[1]} bytes: ask for less at once, with "
            "fewer or shorter parameters"
        )
    return f"this is no HTTP request: {reason}"
