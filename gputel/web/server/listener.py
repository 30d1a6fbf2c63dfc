"""Listen on a port with an aiohttp application, and stop within a deadline."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from gputel.web import access_log
from gputel.web.access_log import AccessLog
from gputel.web.base_path import removing
from gputel.web.server.acceptor import Acceptor
from gputel.web.server.connection import ServerConnection
from gputel.web.server.hosts import own_address
from gputel.web.server.open_connections import OpenConnections
from gputel.web.server.ports import bound_sockets, refusal
from gputel.web.server.tls import Certificate

MakeConnection = Callable[[web.Server], ServerConnection]
"""Makes the protocol of one connection, instead of a ServerConnection."""

_READ_BYTES = 64 * 1024  # twice as many bytes of a body are buffered before it is read

_BACKLOG = 1024  # connections that wait to be accepted: many may come at once


@dataclass(frozen=True)
class Patience:
    """How long a server waits for its peers.

    ``idle_s``: for the next request on a connection. ``refused_s``: for the rest of a refused body.
    ``reply_s`` and ``reply_bytes_per_s``: until a reply is taken, as in ``ServerConnection``.
    """

    idle_s: float = 75.0
    refused_s: float = 15.0
    reply_s: float | None = 60.0
    reply_bytes_per_s: float = 0.0


_PATIENCE = Patience()


@dataclass(frozen=True)
class Listener:
    """A server that is listening. ``port`` is the real port, even if the setting was 0."""

    host: str
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The address for a client on this machine."""
        host = own_address(self.host)
        host = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{host}:{self.port}"


@asynccontextmanager
async def listen(
    app: web.Application,
    host: str,
    port: int,
    flag: str,
    *,
    shutdown_timeout_s: float = 5.0,
    patience: Patience = _PATIENCE,
    connection: MakeConnection | None = None,
    certificate: Certificate | None = None,
    auto_decompress: bool = True,
    open_connections: OpenConnections | None = None,
    base_path: str = "",
    log_requests: bool = False,
) -> AsyncIterator[Listener]:
    """Serve ``app`` until the context ends; open requests then get ``shutdown_timeout_s``.

    Peers that take longer than ``patience`` are cut off. Errors name ``flag``, the setting of the
    port. If a client leaves, the handler of its request is cancelled. Without ``auto_decompress``,
    handlers get bodies as they were sent. ``open_connections`` counts the connections of all
    servers of a process. ``base_path`` is removed from the paths of requests. With
    ``log_requests`` each has a line in the log. Raises PortTaken, or
    UsageError for an address that this machine does not have or must not use.
    """
    runner = web.AppRunner(
        app,
        access_log_class=AccessLog,
        access_log=access_log.log if log_requests else None,
        handler_cancellation=True,
        shutdown_timeout=shutdown_timeout_s,
        keepalive_timeout=patience.idle_s,
        lingering_time=patience.refused_s,
        read_bufsize=_READ_BYTES,
        auto_decompress=auto_decompress,
    )
    await runner.setup()
    if base_path and runner.server is not None:
        runner.server.request_factory = removing(base_path, runner.server.request_factory)
    try:
        counted = open_connections or OpenConnections()
        make = _patient(connection or _connection, patience, counted.head_s)
        context = certificate.server_context() if certificate else None
        site = _Site(runner, host, port, make, context, counted)
        await _start(site, host, port, flag)
        yield Listener(host, runner.addresses[0][1], "https" if certificate else "http")
    finally:
        await runner.cleanup()


class _Site(web.BaseSite):
    """A site of aiohttp with our own sockets and connections."""

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        connection: MakeConnection,
        context: ssl.SSLContext | None,
        open_connections: OpenConnections,
    ) -> None:
        super().__init__(runner, backlog=_BACKLOG, ssl_context=context)
        self._host, self._port = host, port
        self._connection = connection
        self._open = open_connections
        self._acceptor: Acceptor | None = None

    @property
    def name(self) -> str:
        """A name for aiohttp."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Bind, and listen."""
        server = self._runner.server
        assert server is not None
        make = self._connection
        await super().start()
        sockets = await bound_sockets(self._host, self._port)
        acceptor = Acceptor(sockets, lambda: make(server), self._open, self._ssl_context)
        self._server = cast(asyncio.AbstractServer, acceptor)
        acceptor.start(self._backlog)
        self._acceptor = acceptor

    async def stop(self) -> None:
        """Stop listening."""
        await super().stop()
        if self._acceptor is not None:
            await self._acceptor.closed()


def _connection(server: web.Server) -> ServerConnection:
    return ServerConnection(server, loop=asyncio.get_running_loop(), **server._kwargs)


def _patient(make: MakeConnection, patience: Patience, head_s: float) -> MakeConnection:
    def made(server: web.Server) -> ServerConnection:
        connection = make(server)
        connection.head_s = head_s
        connection.reply_s = patience.reply_s
        connection.reply_bytes_per_s = patience.reply_bytes_per_s
        return connection

    return made


async def _start(site: _Site, host: str, port: int, flag: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise refusal(error, host, port, flag) from None
