"""Keeps a server from being open to a network by accident."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from gputel.config.settings import AccessSettings
from gputel.errors import ConfigError


def check_exposed(host: str, addresses: Iterable[str], settings: AccessSettings) -> None:
    """Raise ConfigError if a server would let in everyone who reaches its network.

    ``addresses`` are the IP addresses that its sockets were bound to, for ``host`` of the settings.
    """
    guarded = settings.token_file is not None or settings.tokens is not None
    if not guarded and not settings.insecure and not all(map(is_loopback, addresses)):
        raise ConfigError(
            f"--host: other machines can reach {host}, and no token is needed: give "
            "tokens with --token-file, or allow everyone with --insecure"
        )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the IP address; False for what is none."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
