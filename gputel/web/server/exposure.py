"""Keeps a server from being open to a network by accident."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from gputel.config.settings import AccessSettings
from gputel.errors import ConfigError


def check_exposed(host: str, settings: AccessSettings, flags: Sequence[str]) -> None:
    """Raise ConfigError if everyone on a network could use a server without a token.

    ``flags`` are those of the ports on which the process listens; there may be none.
    """
    guarded = settings.token_file is not None or settings.tokens is not None
    if flags and not guarded and not settings.insecure and not is_loopback(host):
        raise ConfigError(
            f"--host: other machines can reach {host}, and no token is needed: give "
            "tokens with --token-file, or allow everyone with --insecure"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address, or all addresses of a name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # a server cannot listen there, and reports the reason itself
    return all(ipaddress.ip_address(str(address[0])).is_loopback for *_, address in addresses)
