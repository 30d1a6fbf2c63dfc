"""The names by which a server may be called.

A page of any site can make its own name point at this machine (DNS rebinding), and is then, to the
browser, of one origin with the server. The name is still in ``Host``: a server that asks for no
token answers only to names that no such page can have.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from gputel.errors import HostNotAllowed
from gputel.web.server.exposure import is_loopback
from gputel.web.server.hosts import addresses_of, hosts_of

ANY = "*"

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.~%-]+)?\]|[A-Za-z0-9._-]+)(?::\d{0,5})?", re.ASCII)
_LOCAL = ("localhost", ".localhost")
# Names that no public DNS has, so that nobody outside can let them point anywhere.
_PRIVATE = (".localhost", ".local", ".internal", ".svc", ".home.arpa")
_MOST_KNOWN = 1000
_LONGEST = 300  # a name has 253 characters at most
_SHOWN = 100


class OwnNames:
    """The names of one server.

    ``bound`` is ``--host``, ``allowed`` the names of the setting, with commas.
    ``guarded``: it asks for tokens, which no page of another site has, so that any name will do.
    """

    def __init__(self, bound: str = "127.0.0.1", allowed: str = "", guarded: bool = False) -> None:
        named = names_of(allowed)
        self._any = guarded or ANY in named
        self._named = named
        self._loopback = all(map(is_loopback, addresses_of(bound)))
        machine = socket.gethostname().lower()
        self._own = {"localhost", machine, machine.partition(".")[0]}
        self._own |= {each.lower() for each in hosts_of(bound)}
        self._known: set[str] = set()

    def includes(self, host: str) -> bool:
        """Whether a ``Host`` header names this server."""
        if self._any or host in self._known:
            return True
        name = name_in(host)
        if name is None or not self._is_own(name):
            return False
        if len(self._known) < _MOST_KNOWN:
            self._known.add(host)
        return True

    def names(self, host: str) -> bool:
        """Whether the setting has the name in a ``Host`` header or an origin."""
        name = name_in(host)
        return name is not None and _matches(name, self._named)

    def check(self, host: str) -> None:
        """Raise HostNotAllowed for a ``Host`` header that does not name this server."""
        if not self.includes(host):
            shown = name_in(host) or host
            raise HostNotAllowed(
                f"Host: {shown[:_SHOWN]!r} is no name of this server, which asks for no tokens: "
                "use localhost or its address, or give the name to --allowed-hosts"
            )

    def _is_own(self, name: str) -> bool:
        address = _address(name)
        if address is not None:
            # Pages of other sites come by names: an address in Host is the one that was reached.
            return not self._loopback or address.is_loopback or address.is_unspecified
        if name in self._own or name.endswith(_LOCAL[1]) or _matches(name, self._named):
            return True
        return not self._loopback and ("." not in name or name.endswith(_PRIVATE))


def names_of(setting: str | None) -> frozenset[str]:
    """The names in the setting, in small letters; one that begins with a dot is of a domain."""
    parts = (part.strip().lower() for part in (setting or "").split(","))
    return frozenset(part.removeprefix("*") if part != ANY else part for part in parts) - {""}


def name_in(host: str) -> str | None:
    """The name or address in a ``Host`` header, without its port; None for what is neither."""
    match = _HOST.fullmatch(host) if len(host) <= _LONGEST else None
    return match[1].strip("[]").lower().removesuffix(".") if match else None


def _matches(name: str, named: frozenset[str]) -> bool:
    if name in named:
        return True
    return any(each[0] == "." and (name.endswith(each) or name == each[1:]) for each in named)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
