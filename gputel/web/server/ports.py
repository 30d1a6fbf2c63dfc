"""Ports of this machine: whether a server can listen on them, and messages if it cannot."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from gputel.errors import PortTaken, UsageError
from gputel.web.server.hosts import hosts_of

_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


async def check_ports(host: str, ports: Mapping[str, int]) -> set[str]:
    """Bind every port for a moment; ``ports`` has them by the flag that chose them, 0 for any.

    Returns the IP addresses that they were bound to. Raises PortTaken or UsageError, naming the
    flag. For a process to fail before it has begun.
    """
    addresses = set[str]()
    flags: dict[int, str] = {}
    for flag, port in ports.items():
        other = flags.setdefault(port, flag) if port else flag
        if other != flag:
            raise UsageError(f"{other} and {flag} are both {port}: choose another for one of them")
        try:
            addresses |= await _bound(host, port)
        except OSError as error:
            raise refusal(error, host, port, flag) from None
    return addresses


async def _bound(host: str, port: int) -> set[str]:
    addresses = set()
    for sock in await bound_sockets(host, port):
        addresses.add(str(sock.getsockname()[0]))
        sock.close()
    return addresses


async def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, bound to the port, not yet listening.

    All are of one port, also if it is 0. Raises OSError if one of them cannot be bound; of ``*``,
    IPv6 may be missing.
    """
    loop = asyncio.get_running_loop()
    kind, passive = socket.SOCK_STREAM, socket.AI_PASSIVE
    infos = []
    for name in hosts_of(host):
        try:
            infos += await loop.getaddrinfo(name, port, type=kind, flags=passive)
        except UnicodeError as error:  # such as a..b
            raise socket.gaierror(str(error)) from None
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            try:
                sock = stack.enter_context(socket.socket(family, kind, protocol))
                _bind(sock, family, (address[0], port, *address[2:]))
            except OSError as error:
                if "*" in host and family == socket.AF_INET6 and error.errno in _NO_IPV6:
                    continue
                raise
            sockets.append(sock)
            port = sock.getsockname()[1]
        stack.pop_all()
    return sockets


def _bind(sock: socket.socket, family: int, address: tuple[Any, ...]) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)


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
