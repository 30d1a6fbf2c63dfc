"""One connection of a server: aiohttp's, with bounds on how long its peer may take."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from gputel.web.errors import error_response, http_refusal

log = logging.getLogger("gputel.web")

LEAST_BYTES_PER_S = 64 * 1024
"""A peer that sends a body or takes a reply more slowly than this, on average, is cut off."""

_MESSAGE_CHARS = 200
_PROBES = ((6, "TCP_KEEPCNT"), (10, "TCP_KEEPINTVL"), (60, "TCP_KEEPIDLE"))  # dead in 2 minutes


class Connection(web.RequestHandler):
    """Cuts off a peer that does not take its reply, and answers bad HTTP as errors are answered.

    ``reply_s`` is the seconds in which a peer must take its reply, or of a large one as much as
    one of LEAST_BYTES_PER_S would; None: as long as it likes.
    """

    __slots__ = ("__weakref__", "_taking", "_untaken", "reply_s")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reply_s: float | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._untaken = 0  # bytes of replies, when they were last looked at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the system find out whether the peer's machine is still there."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        for value, name in _PROBES:
            option = getattr(socket, name, None)
            if option is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def data_received(self, data: bytes) -> None:
        """Read on; a body that turns out not to be framed as HTTP is not waited for."""
        super().data_received(data)
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            bodies = [body for _, body in self._messages]
            if self._current_request is not None:
                bodies.append(self._current_request.content)
            for body in bodies:
                if not body.is_eof():
                    body.set_exception(web.RequestPayloadError("no chunk where one must be"))

    def pause_writing(self) -> None:
        """The peer does not take its reply as fast as it is written: see that it goes on."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It has taken what was written."""
        super().resume_writing()
        self._unwatch()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Watch no more."""
        self._unwatch()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what is no HTTP in the shape of all errors, then close."""
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        reason = " ".join((message or "malformed").split())[:_MESSAGE_CHARS]
        log.debug("refused what is no HTTP, from %s: %s", request.remote, reason)
        response = error_response(status, "bad_request", _told(exc, reason))
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write a reply; what aiohttp refused itself is put in the shape of all errors."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = http_refusal(request, resp)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log a fault of the server; those of clients are theirs."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.debug(*args, **kw)
        else:
            super().log_exception(*args, **kw)

    def _watch(self) -> None:
        if self.transport is not None and self.reply_s is not None:
            self._untaken = self.transport.get_write_buffer_size()
            self._taking = self._loop.call_later(self.reply_s, self._look_again, self.reply_s)

    def _unwatch(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _look_again(self, reply_s: float) -> None:
        transport = self.transport
        if transport is None:
            return
        taken = self._untaken - transport.get_write_buffer_size()
        if taken < LEAST_BYTES_PER_S * reply_s:
            log.info("closed a connection: its peer, %s, takes no reply", self.peername)
            transport.abort()
        else:
            self._watch()


def _told(error: BaseException | None, reason: str) -> str:
    if isinstance(error, LineTooLong):
        return (
            f"the address or a header is over {error.args[1]} bytes: ask for less at once, with "
            "fewer or shorter parameters"
        )
    return f"this is no HTTP request: {reason}"
