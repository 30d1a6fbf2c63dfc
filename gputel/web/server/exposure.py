"""No server is open to a network by accident."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from gputel.config.settings import AccessSettings
from gputel.errors import ConfigError


def check_exposed(host: str, settings: AccessSettings, flags: Sequence[str]) -> None:
    """Raise ConfigError where a server would let in everyone who reaches its network.

    ``flags`` are those of the ports listened on; without any there is nothing to let in.
    """
    guarded = settings.token_file is not None or settings.tokens is not None
    if flags and not guarded and not settings.insecure and not is_loopback(host):
        raise ConfigError(
            f"--host: other machines reach {host}, and nothing asks them who they are: give "
            "tokens with --token-file, or let everyone in with --insecure"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address; of a name, every address that it has."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # nobody can listen there; whoever tries tells why
    return all(ipaddress.ip_address(str(place[0])).is_loopback for *_, place in found)
