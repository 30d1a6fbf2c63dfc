"""One kept-alive HTTP/1.1 connection: one request at a time, its reply read by hand."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple, cast

_MAX_HEAD_BYTES = 32_768
_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Reply(NamedTuple):
    """Status and body of a reply."""

    status: int
    body: bytes


class Lost(ConnectionError):
    """The connection ended before the reply was whole; ``begun`` when some of it had come."""

    def __init__(self, text: str, *, begun: bool) -> None:
        super().__init__(text)
        self.begun = begun


class NotABroker(ConnectionError):
    """What answers does not speak as the broker does."""


class Connection(asyncio.Protocol):
    """Made by ``loop.create_connection``; use it for one exchange after another."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parts: list[bytes] = []
        self._missing: int | None = None  # bytes of the body to come; None until its head has
        self._status = 0
        self._received = False
        self._unclaimed: Reply | None = None  # it came while its caller was being cancelled
        self.usable = True
        self.used_at = 0.0  # monotonic seconds

    def send(self, data: list[bytes], limit_s: float) -> asyncio.Future[Reply]:
        """Write one request. The future gives the reply, or raises OSError or TimeoutError."""
        waiter = self._waiter = self._loop.create_future()
        transport = self._transport
        if transport is None or transport.is_closing():
            waiter.set_exception(Lost("the connection was closed", begun=False))
            return waiter
        self._timer = self._loop.call_later(limit_s, self._fail, TimeoutError())
        if len(data) == 1:
            transport.write(data[0])
        else:
            transport.writelines(data)
        return waiter

    async def leave(self, limit_s: float) -> Reply | None:
        """Tell the server that nobody waits any more; the reply, if it was on its way."""
        if self._unclaimed is not None:
            return self._unclaimed
        transport = self._transport
        if transport is None or not transport.can_write_eof():
            self.close()
            return None
        self._cancel_timer()
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        self._timer = self._loop.call_later(limit_s, self._fail, TimeoutError())
        try:
            transport.write_eof()
            return await waiter
        except (OSError, RuntimeError):
            return None

    def close(self) -> None:
        """Close at once; what was not written yet is dropped."""
        self.usable = False
        self._cancel_timer()
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        self._fail(Lost(str(exc or "the broker closed the connection"), begun=self._received))

    def data_received(self, data: bytes) -> None:
        """Read on in the reply."""
        if self._waiter is None:
            self.close()  # nobody asked
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
        """Read the head; how much of the body is missing, or None while the head is not whole."""
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
        reply = Reply(self._status, body)
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
