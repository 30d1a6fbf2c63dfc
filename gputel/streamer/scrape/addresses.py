"""Addresses of targets: ``host``, ``host:port``, ``[::1]:9400`` and whole URLs."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
"""The port of each scheme, for an address without a port."""
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


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
    if re.search(r"[\s/?#@\\]", text):
        raise ValueError("is not host:port")
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"is not host:port ({error})") from None
    if not (":" in host or _HOST.fullmatch(host)) or port == 0 or text.endswith(":"):
        raise ValueError("is not host:port")
    return Address(host, port)


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
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
