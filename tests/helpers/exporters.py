"""Servers on loopback that answer as a test tells them, and count who asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address, ``127.0.0.1:port``, of a server that answers every GET by the handler."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=tls)
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.close()


@asynccontextmanager
async def raw_served(
    answer: bytes, *, stay: bool = False, reset: bool = False
) -> AsyncIterator[str]:
    """The address of a server that writes these bytes; then it closes, stays silent or resets."""
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if stay:
            await ended.wait()
        if reset:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended.set()


class Authority:
    """A certificate authority of the test's own, whose certificate is in a file."""

    def __init__(self, folder: Path, name: str = "ca.crt") -> None:
        self._ca = trustme.CA()
        self.file = folder / name
        self.file.write_bytes(self._ca.cert_pem.bytes())

    def server(
        self, *names: str, clients: bool = False, until: datetime | None = None
    ) -> ssl.SSLContext:
        """The context of a server with these names; ``clients``: they need a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        before = until - timedelta(days=1) if until else None
        issued = self._ca.issue_cert(*names, not_before=before, not_after=until)
        issued.configure_cert(context)
        if clients:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_file(self, path: Path) -> Path:
        """A file with a client's certificate and its key."""
        path.write_bytes(
            self._ca.issue_cert("client.example").private_key_and_cert_chain_pem.bytes()
        )
        return path
