"""Ports of this machine: whether a server can listen on them, and messages if it cannot."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from gputel.errors import PortTaken, UsageError


async def check_ports(host: str, ports: Mapping[str, int]) -> None:
    """Bind every port for a moment, so that a process can fail early.

    ``ports`` has the ports by the flags that set them; 0 means any port. Raises PortTaken or
    UsageError with the name of the flag.
    """
    flags: dict[int, str] = {}
    for flag, port in ports.items():
        other = flags.setdefault(port, flag) if port else flag
        if other != flag:
            raise UsageError(f"{other} and {flag} are both {port}: choose another for one of them")
        try:
            await _check(host, port)
        except OSError as error:
            raise refusal(error, host, port, flag) from None


async def _check(host: str, port: int) -> None:
    for sock in await bound_sockets(host, port):
        sock.close()


async def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, bound to the port, not yet listening.

    Raises OSError if one of them cannot be bound.
    """
    loop = asyncio.get_running_loop()
    kind, passive = socket.SOCK_STREAM, socket.AI_PASSIVE
    infos = await loop.getaddrinfo(host, port, type=kind, flags=passive)
    with ExitStack() as stack:
        sockets = []
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            sock = stack.enter_context(socket.socket(family, kind, protocol))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sockets.append(sock)
        stack.pop_all()
    return sockets


def refusal(error: OSError, host: str, port: int, flag: str) -> UsageError:
    """The PortTaken or other UsageError if a server cannot listen on a port."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} on {host} is taken by another process: "
            f"stop it, or choose another port with {flag}"
        )
    if error.errno == errno.EACCES:
        return UsageError(
            f"port {port} may not be used by this user: choose one above 1023 with {flag}"
        )
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"--host: {host} is no address of this machine: 127.0.0.1 is for this machine only, "
            "0.0.0.0 for all of its networks"
        )
    return UsageError(f"cannot listen on {host}:{port} ({flag}, --host): {error.strerror}")
