"""Listen on a port with an aiohttp application, and stop within a deadline."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from aiohttp import web

from gputel.web.base_path import removing
from gputel.web.server.acceptor import Acceptor
from gputel.web.server.connection import ServerConnection
from gputel.web.server.hosts import own_address
from gputel.web.server.open_connections import AcceptedConnection, OpenConnections
from gputel.web.server.patience import Patience
from gputel.web.server.ports import bound_sockets, refusal
from gputel.web.server.tls import Certificate

MakePlain = Callable[[], ServerConnection]

MakeConnection = Callable[[MakePlain, Patience], AcceptedConnection]
"""Makes the protocol of one connection; it may hand the connection over to a plain one."""

SHUTDOWN_S = 5.0
"""Seconds for the requests that are open when a server stops."""

_PATIENCE = Patience()
_BACKLOG = 1024  # connections that wait to be accepted: many may come at once


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
    patience: Patience = _PATIENCE,
    connection: MakeConnection | None = None,
    certificate: Certificate | None = None,
    auto_decompress: bool = True,
    open_connections: OpenConnections | None = None,
    base_path: str = "",
    log_requests: bool = False,
) -> AsyncIterator[Listener]:
    """Serve ``app`` until the context ends; open requests then get SHUTDOWN_S.

    Peers that take longer than ``patience`` are cut off. Errors name ``flag``, the setting of the
    port. If a client leaves, the handler of its request is cancelled. Without ``auto_decompress``,
    handlers get bodies as they were sent. ``open_connections`` counts the connections of all
    servers of a process. ``base_path`` is removed from the paths of requests. With
    ``log_requests`` each has a line in the log. Raises PortTaken, or UsageError for an address that
    this machine does not have or must not use.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    if base_path and runner.server is not None:
        runner.server.request_factory = removing(base_path, runner.server.request_factory)
    try:
        counted = open_connections or OpenConnections()
        patience = replace(patience, head_s=counted.head_s)
        server = runner.server
        assert server is not None
        plain = partial(
            ServerConnection,
            server,
            patience,
            auto_decompress=auto_decompress,
            log_requests=log_requests,
        )
        make = partial(connection, plain, patience) if connection else plain
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
        make: Callable[[], AcceptedConnection],
        context: ssl.SSLContext | None,
        open_connections: OpenConnections,
    ) -> None:
        super().__init__(runner, backlog=_BACKLOG, ssl_context=context)
        self._host, self._port = host, port
        self._make = make
        self._open = open_connections
        self._acceptor: Acceptor | None = None

    @property
    def name(self) -> str:
        """A name for aiohttp."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Bind, and listen."""
        await super().start()
        sockets = await bound_sockets(self._host, self._port)
        acceptor = Acceptor(sockets, self._make, self._open, self._ssl_context)
        self._server = cast(asyncio.AbstractServer, acceptor)
        acceptor.start(self._backlog)
        self._acceptor = acceptor

    async def stop(self) -> None:
        """Stop listening."""
        await super().stop()
        if self._acceptor is not None:
            await self._acceptor.closed()


async def _start(site: _Site, host: str, port: int, flag: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise refusal(error, host, port, flag) from None
