"""A thin HTTP/1.1 client for one server: whole requests out, whole replies in, connections kept.

It speaks only what the broker speaks: a reply has a Content-Length, and a request is one write.
Anything else that answers is refused as no broker.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from gputel.mq.client.connection import Connection, Lost, Reply

Late = Callable[[Reply], Awaitable[None]]
"""What is done with a reply that arrives after its caller has gone."""

_CONNECT_TIMEOUT_S = 5.0
_MAX_IDLE = 128  # connections kept for later
_IDLE_S = 30.0  # a proxy may drop what was idle for longer: it is not used again
_FAREWELL_S = 2.0
_ONE_WRITE_BYTES = 65_536


class Request(NamedTuple):
    """One request: where to, what, and whether the server may see it twice."""

    method: str
    target: str
    body: bytes
    again: bool = False


class Wire:
    """Exchanges with one server. As many connections are open as calls run side by side."""

    def __init__(
        self, url: str, headers: dict[str, str], tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http:// or https:// address: {url}")
        secure = parts.scheme == "https"
        self._ssl = (tls or ssl.create_default_context()) if secure else None
        self._host = parts.hostname
        self._port = parts.port or (443 if self._ssl else 80)
        self._prefix = parts.path.rstrip("/")
        lines = {"Host": parts.netloc.rpartition("@")[2], **headers}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: list[Connection] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection that is not in use; replies of cancelled calls are awaited."""
        self._closed = True
        if self._leaving:
            await asyncio.wait(self._leaving)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def exchange(self, request: Request, limit_s: float, late: Late | None = None) -> Reply:
        """Send a request and give its reply. Raises OSError, or TimeoutError after ``limit_s``.

        A connection that the server had closed meanwhile is replaced; what was sent on it is sent
        again only if the request says so. Cancelled, with ``late``, it tells the server that it
        leaves and hands what the server had already answered to ``late``.
        """
        data = self._bytes_of(request)
        connection = self._take()
        if connection is not None:
            try:
                return await self._exchange_on(connection, data, limit_s, late)
            except Lost as error:
                if error.begun or not request.again:
                    raise
        return await self._exchange_on(await self._connect(), data, limit_s, late)

    async def _exchange_on(
        self, connection: Connection, data: list[bytes], limit_s: float, late: Late | None
    ) -> Reply:
        future = connection.send(data, limit_s)
        try:
            reply = await future
        except asyncio.CancelledError:
            if late is not None:
                self._leave(connection, future, late)
            else:
                connection.close()
            raise
        self._keep(connection)
        return reply

    def _take(self) -> Connection | None:
        oldest = time.monotonic() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.used_at >= oldest:
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._closed or not connection.usable or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: Connection(loop), self._host, self._port, ssl=self._ssl
            )
        return connection

    def _bytes_of(self, request: Request) -> list[bytes]:
        head = (
            f"{request.method} {self._prefix}{request.target} HTTP/1.1\r\n{self._headers}"
            f"Content-Length: {len(request.body)}\r\n\r\n"
        ).encode("latin-1")
        if len(request.body) > _ONE_WRITE_BYTES:
            return [head, request.body]
        return [head + request.body]

    def _leave(self, connection: Connection, answer: asyncio.Future[Reply], late: Late) -> None:
        task = asyncio.get_running_loop().create_task(_farewell(connection, answer, late))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def _farewell(connection: Connection, answer: asyncio.Future[Reply], late: Late) -> None:
    # The server takes the end of our half for a client that left. Either it had answered by then,
    # and the answer arrives before its own end, or it takes back what it was about to answer.
    try:
        if answer.cancelled():
            reply = await connection.leave(_FAREWELL_S)
        else:
            reply = None if answer.exception() else answer.result()
        if reply is not None:
            await late(reply)
    finally:
        connection.close()
