"""Listen on a port with an aiohttp application, and stop within a deadline."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gputel.errors import PortTaken, UsageError


@dataclass(frozen=True)
class Listener:
    """A server that is listening: where, and on which port (the real one where 0 was asked)."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{'[' + host + ']' if ':' in host and host[0] != '[' else host}:{self.port}"


@asynccontextmanager
async def listen(
    app: web.Application, host: str, port: int, flag: str, *, shutdown_timeout_s: float = 5.0
) -> AsyncIterator[Listener]:
    """Serve ``app`` until the context ends; open requests then get ``shutdown_timeout_s``.

    ``flag`` is the setting that chose the port, named in the error. A request whose client goes
    away has its handler cancelled. Raises PortTaken, or UsageError for an address that this
    machine does not have or may not use.
    """
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=shutdown_timeout_s
    )
    await runner.setup()
    try:
        await _start(web.TCPSite(runner, host, port), host, port, flag)
        yield Listener(host, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _start(site: web.TCPSite, host: str, port: int, flag: str) -> None:
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port} on {host} is taken by another process: "
                f"stop it, or choose another port with {flag}"
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(
                f"port {port} may not be used by this user: choose one above 1023 with {flag}"
            ) from None
        raise UsageError(f"cannot listen on {host}:{port} ({flag}, --host): {error}") from None
