"""Looks names of hosts up, in threads of its own.

A name server that does not answer holds a thread for half a minute. So many names may wait for one
before other names do, and nothing else of the process ever does.
"""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from gputel.threads import LOOKUPS

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_TEXTS = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class NameResolver(AbstractResolver):
    """The addresses of names, as the system knows them."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError if it has none."""
        return await LOOKUPS.run(_look_up, host, port, family)

    async def close(self) -> None:
        """Nothing is open."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [
        ResolveResult(
            hostname=host,
            host=socket.getnameinfo(address, _TEXTS)[0],  # with the zone of a local address
            port=port,
            family=of_family,
            proto=proto,
            flags=_NUMERIC,
        )
        for of_family, _, proto, _, address in found
    ]
