"""A thin HTTP/1.1 client for one server: complete requests and replies, connections kept alive.

It supports only what the broker does: every reply has a Content-Length. A request is one write.
Any other reply is an error: the server is not a broker.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast
from urllib.parse import urlsplit

_CONNECT_TIMEOUT_S = 5.0
_MAX_IDLE = 128  # connections kept for later
_IDLE_S = 30.0  # older connections are not used: a proxy may have dropped them
_FAREWELL_S = 2.0
_ONE_WRITE_BYTES = 65_536
_MAX_HEAD_BYTES = 32_768
_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class HttpRequest(NamedTuple):
    """One request; ``again``: whether the server may receive it twice."""

    method: str
    target: str
    body: bytes
    again: bool = False


class HttpReply(NamedTuple):
    """Status and body of a reply."""

    status: int
    body: bytes


class ConnectionLost(ConnectionError):
    """The connection ended before the reply was complete; ``begun``: a part of it had come."""

    def __init__(self, text: str, *, begun: bool) -> None:
        super().__init__(text)
        self.begun = begun


class NotABroker(ConnectionError):
    """The reply is not one that a broker sends."""


Late = Callable[[HttpReply], Awaitable[None]]
"""Gets a reply that arrives after its caller was cancelled."""


class HttpClient:
    """The requests to one server. There is one connection for each concurrent call."""

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
        self._idle: list[BrokerConnection] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def aclose(self) -> None:
        """Wait for the replies of cancelled calls, then close every idle connection."""
        self._closed = True
        if self._leaving:
            await asyncio.wait(self._leaving)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def exchange(
        self, request: HttpRequest, limit_s: float, late: Late | None = None
    ) -> HttpReply:
        """Send a request and return its reply. Raises OSError, or TimeoutError after ``limit_s``.

        If the server had closed an idle connection, a new one is opened; the request is sent again
        only if ``again`` is set. When it is cancelled and ``late`` is set, it tells the server, and
        calls ``late`` with a reply that the server had sent already.
        """
        data = self._bytes_of(request)
        connection = self._take()
        if connection is not None:
            try:
                return await self._exchange_on(connection, data, limit_s, late)
            except ConnectionLost as error:
                if error.begun or not request.again:
                    raise
        return await self._exchange_on(await self._connect(), data, limit_s, late)

    async def _exchange_on(
        self, connection: BrokerConnection, data: list[bytes], limit_s: float, late: Late | None
    ) -> HttpReply:
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

    def _take(self) -> BrokerConnection | None:
        oldest = time.monotonic() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.used_at >= oldest:
                return connection
            connection.close()
        return None

    def _keep(self, connection: BrokerConnection) -> None:
        if self._closed or not connection.usable or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    async def _connect(self) -> BrokerConnection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: BrokerConnection(loop), self._host, self._port, ssl=self._ssl
            )
        return connection

    def _bytes_of(self, request: HttpRequest) -> list[bytes]:
        head = (
            f"{request.method} {self._prefix}{request.target} HTTP/1.1\r\n{self._headers}"
            f"Content-Length: {len(request.body)}\r\n\r\n"
        ).encode("latin-1")
        if len(request.body) > _ONE_WRITE_BYTES:
            return [head, request.body]
        return [head + request.body]

    def _leave(
        self, connection: BrokerConnection, answer: asyncio.Future[HttpReply], late: Late
    ) -> None:
        task = asyncio.get_running_loop().create_task(_farewell(connection, answer, late))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def _farewell(
    connection: BrokerConnection, answer: asyncio.Future[HttpReply], late: Late
) -> None:
    # For the server, the end of our half means that the client left. Either it has answered, and
    # the reply arrives before its own end, or it takes back what it was about to send.
    try:
        if answer.cancelled():
            reply = await connection.leave(_FAREWELL_S)
        else:
            reply = None if answer.exception() else answer.result()
        if reply is not None:
            await late(reply)
    finally:
        connection.close()


class BrokerConnection(asyncio.Protocol):
    """One connection, made by ``loop.create_connection``; it serves one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[HttpReply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parts: list[bytes] = []
        self._missing: int | None = None  # body bytes to come; None until the head is complete
        self._status = 0
        self._received = False
        self._unclaimed: HttpReply | None = None  # it came while its caller was being cancelled
        self.usable = True
        self.used_at = 0.0  # monotonic seconds

    def send(self, data: list[bytes], limit_s: float) -> asyncio.Future[HttpReply]:
        """Write one request. Its future gets the reply, or raises OSError or TimeoutError."""
        waiter = self._waiter = self._loop.create_future()
        transport = self._transport
        if transport is None or transport.is_closing():
            waiter.set_exception(ConnectionLost("the connection was closed", begun=False))
            return waiter
        self._timer = self._loop.call_later(limit_s, self._fail, TimeoutError())
        if len(data) == 1:
            transport.write(data[0])
        else:
            transport.writelines(data)
        return waiter

    async def leave(self, limit_s: float) -> HttpReply | None:
        """Tell the server that the caller left. Returns the reply if it was on its way."""
        if self._unclaimed is not None:
            return self._unclaimed
        transport = self._transport
        if transport is None or not transport.can_write_eof():
            self.close()
            return None
        self._cancel_timer()
        waiter: asyncio.Future[HttpReply] = self._loop.create_future()
        self._waiter = waiter
        self._timer = self._loop.call_later(limit_s, self._fail, TimeoutError())
        try:
            transport.write_eof()
            return await waiter
        except (OSError, RuntimeError):
            return None

    def close(self) -> None:
        """Close at once; data that was not written yet is dropped."""
        self.usable = False
        self._cancel_timer()
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits."""
        self._transport = None
        self._fail(
            ConnectionLost(str(exc or "the broker closed the connection"), begun=self._received)
        )

    def data_received(self, data: bytes) -> None:
        """Read the next part of the reply."""
        if self._waiter is None:
            self.close()  # no request waits
            return
        self._received = True
        if self._missing is None:
            missing = self._begin(b"".join((*self._parts, data)) if self._parts else data)
        else:
            self._parts.append(data)
            missing = self._missing - len(data)
        self._missing = missing
        if missing == 0:
            self._finish()
        elif missing is not None and missing < 0:
            self._fail(NotABroker("the reply is longer than it says"))

    # ------------------------------------------------------------------ inside

    def _begin(self, data: bytes) -> int | None:
        """Read the head. Returns the body bytes to come; None while the head is incomplete."""
        self._parts = [data]
        end = data.find(_END)
        if end < 0:
            if len(data) > _MAX_HEAD_BYTES:
                self._fail(NotABroker("the head of the reply is too long"))
            return None
        head = data[: end + 2].lower()
        try:
            self._status, length = _framing(head)
        except ValueError:
            self._fail(NotABroker(f"the reply is not understood: {data[:40]!r}"))
            return None
        if b"\r\nconnection: close\r\n" in head:
            self.usable = False
        self._parts = [data[end + 4 :]]
        return length - len(self._parts[0])

    def _finish(self) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        reply = HttpReply(self._status, body)
        waiter = self._waiter
        self._forget()
        self._cancel_timer()
        self.used_at = time.monotonic()
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)
        else:
            self._unclaimed = reply

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.close()

    def _forget(self) -> None:
        self._waiter = None
        self._parts = []
        self._missing = None
        self._received = False

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _framing(head: bytes) -> tuple[int, int]:
    """Status and length of the body. Raises ValueError for what the broker never sends."""
    if head[:7] != b"http/1." or b"\r\ntransfer-encoding:" in head:
        raise ValueError
    status = int(head[9:12])
    at = head.find(_LENGTH)
    if status == 204:
        return status, 0
    if at < 0 or status < 200:
        raise ValueError
    start = at + len(_LENGTH)
    text = head[start : head.index(b"\r\n", start)].strip()
    if not text.isdigit() or head.find(_LENGTH, start) >= 0:
        raise ValueError
    return status, int(text)
