"""Which addresses ``--host`` stands for."""

from __future__ import annotations

import socket
from contextlib import suppress

ALL = ("0.0.0.0", "::")  # noqa: S104
"""The addresses that ``*`` stands for: every network, by IPv4 and by IPv6."""


def hosts_of(host: str) -> list[str]:
    """The names and addresses in ``--host``, which commas separate; ``*`` is all addresses."""
    names = [name.strip().strip("[]") for name in host.split(",")]
    return list(dict.fromkeys(each for name in names for each in (ALL if name == "*" else [name])))


def own_address(host: str) -> str:
    """An address at which a client on this machine reaches what listens on ``host``."""
    first = hosts_of(host)[0]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)  # noqa: S104


def addresses_of(host: str) -> set[str]:
    """The IP addresses that ``host`` stands for now; none if it cannot be looked up. Blocks."""
    kind, passive = socket.SOCK_STREAM, socket.AI_PASSIVE
    addresses = set()
    for name in hosts_of(host):
        with suppress(OSError, UnicodeError):
            for *_, address in socket.getaddrinfo(name, None, type=kind, flags=passive):
                addresses.add(str(address[0]))
    return addresses
