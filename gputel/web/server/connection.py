"""One connection of a server: that of aiohttp, with limits on the time that its peer takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from gputel import metrics
from gputel.web import access_log
from gputel.web.access_log import AccessLog
from gputel.web.errors import error_response, http_refusal
from gputel.web.headers.added import GUARDED
from gputel.web.server.patience import CROWDED_S, Patience, ReplyWatch, probe_peer

log = logging.getLogger("gputel.web")

_MESSAGE_CHARS = 200
_READ_BYTES = 64 * 1024  # twice as many bytes of a body are buffered before it is read
_TICK_S = 0.002


class ServerConnection(web.RequestHandler):
    """Cuts off a peer that takes too long, and answers malformed HTTP in JSON.

    If there are too many connections, ``crowded`` has the reason, and the peer gets one reply.
    ``left`` is called when the connection is closed, ``replied`` in the turn of the event loop
    after a reply was written.

    It uses internals of the pinned aiohttp: ``_waiter`` (set while no request is being handled),
    ``_messages``, ``_current_request``, ``_request_count``, ``_next_keepalive_close_time``.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_head",
        "_head_s",
        "_partial",
        "_unused_until",
        "_watch",
        "crowded",
        "left",
        "replied",
        "wire",
    )

    def __init__(
        self,
        server: web.Server,
        patience: Patience,
        *,
        auto_decompress: bool = True,
        log_requests: bool = False,
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log_class=AccessLog,
            access_log=access_log.log if log_requests else None,  # type: ignore[arg-type]
            keepalive_timeout=patience.idle_s,
            lingering_time=patience.refused_s,
            read_bufsize=_READ_BYTES,
            auto_decompress=auto_decompress,
        )
        self.crowded: str | None = None
        self.left: Callable[[], None] | None = None
        self.replied: Callable[[], None] | None = None
        self.wire: asyncio.Transport | None = None  # the transport, also while it is being closed
        self._head: asyncio.TimerHandle | None = None
        self._head_s = patience.head_s
        self._partial = False  # whether ``_head`` waits for the rest of a head
        self._asked = False  # whether the head of a request has come
        self._unused_until = 0.0
        self._watch = ReplyWatch(patience)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timers, and have the system check whether the machine of the peer is alive."""
        super().connection_made(transport)
        self.wire = cast(asyncio.Transport, transport)
        self._next_keepalive_close_time -= (
            _TICK_S  # so that no reply at this moment sets the same time
        )
        self._unused_until = self._next_keepalive_close_time
        self._expect_head()
        probe_peer(transport)

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
        if self.transport is not None:
            self._watch.start(self.transport)

    def resume_writing(self) -> None:
        """Stop watching: the peer has taken what was written."""
        super().resume_writing()
        self._watch.stop()

    @property
    def idle(self) -> bool:
        """Whether it can be closed without loss: no request is being handled."""
        if self.wire is None or self.transport is None:
            return True  # in a TLS handshake, or being closed
        # Until its task has had its first turn, aiohttp waits for nothing yet.
        return (self._waiter is not None or not self._asked) and not self._messages

    @property
    def answered(self) -> bool:
        """Whether one of its requests has been answered."""
        return self.idle_since != self._unused_until

    @property
    def idle_since(self) -> float:
        """A number that grows with the time at which it became idle."""
        return self._next_keepalive_close_time

    def release(self) -> None:
        """Give up the transport, which stays open. No request may be open."""
        self.left = self.replied = self.wire = self.transport = None
        self.connection_lost(None)

    def head_came(self) -> None:
        """Note that the head of a request is complete."""
        self._partial, self._asked = False, True
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
        if self._head_s:
            wait_s = min(self._head_s, CROWDED_S) if self.crowded else self._head_s
            self._head = self._loop.call_later(wait_s, self._late)

    def _late(self) -> None:
        self._head = None
        if self.idle and (not self.answered or self._partial):
            metrics.HTTP_CONNECTIONS_CLOSED.labels("late").inc()
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop all timers."""
        self._watch.stop()
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
        finished = await super().finish_response(request, resp, start_time)
        if self.replied is not None:
            self._loop.call_soon(self.replied)
        return finished

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an error of the server. Errors of clients are logged at debug level."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.debug(*args, **kw)
        else:
            super().log_exception(*args, **kw)


def _bad_request_message(error: BaseException | None, reason: str) -> str:
    if isinstance(error, LineTooLong):
        return (
            f"the address or a header is over {error.args[1]} bytes: ask for less at once, with "
            "fewer or shorter parameters"
        )
    return f"this is no HTTP request: {reason}"
