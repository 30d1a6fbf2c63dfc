"""Addresses of targets: ``host``, ``host:port``, ``[::1]:9400`` and whole URLs."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple

PORTS = {"http": 80, "https": 443}
"""The port of each scheme, for an address without a port."""
_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


class Address(NamedTuple):
    """A host without brackets, and its port if there is one."""

    host: str
    port: int | None

    def text(self, port: int | None = None) -> str:
        """``host:port``, with brackets around an IPv6 address; ``port`` if it has none itself."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        number = self.port if self.port is not None else port
        return host if number is None else f"{host}:{number}"


def parse_address(text: str) -> Address:
    """Host and port of ``host[:port]``. Raises ValueError, which says what is wrong."""
    if text.count(":") > 1 and not text.startswith("["):
        raise ValueError("an IPv6 address must be in brackets, as in [::1]:9400")
    match = _ADDRESS.fullmatch(text)
    if not match or not (match["name"] or _is_ipv6(match["ipv6"])):
        raise ValueError("is not host:port")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65_536:
        raise ValueError("has a port that is not between 1 and 65535")
    return Address((match["name"] or match["ipv6"]).lower(), port)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def is_url(text: str) -> bool:
    """Whether the text has a scheme, so that it is a URL and not ``host:port``."""
    return "://" in text


def parse_url(text: str) -> Address:
    """Host and port of an http or https URL. Raises ValueError, which says what is wrong."""
    scheme, _, rest = text.partition("://")
    if scheme not in PORTS:
        raise ValueError("must begin with http:// or https://")
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        raise ValueError(
            "has a user or password before an @: leave it out, and use basic_auth in the file of "
            "--scrape-config"
        )
    if "#" in rest or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError("has a # or a blank, which a URL to scrape cannot have")
    return parse_address(re.split(r"[/?]", rest, maxsplit=1)[0])


def instance_of(address: Address, scheme: str) -> str:
    """The label ``instance`` of a target: host and port.

    A loopback address gets the name of this machine, because each of many nodes may run a streamer
    that scrapes its own localhost, and their targets must not be taken for one.
    """
    if is_loopback(address.host):
        address = Address(socket.gethostname(), address.port)
    return address.text(PORTS[scheme])


def is_loopback(host: str) -> bool:
    """Whether the host means this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if ":" not in name and not name[:1].isdigit():
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
