"""The names of a server, which it accepts in the header ``Host``.

A web page can make the name of its own site point at this machine (DNS rebinding). The browser then
treats page and server as one origin. But ``Host`` still has the name of that site. So a server that
needs no token accepts only names that no such site can have.
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
# Names that public DNS cannot have, so nobody outside can point them at this machine.
_PRIVATE = (".localhost", ".local", ".internal", ".svc", ".home.arpa")
_MOST_KNOWN = 1000
_LONGEST = 300  # a name has 253 characters at most
_SHOWN = 100


class OwnNames:
    """The names of one server.

    ``bound`` is ``--host``. ``allowed`` has the names of the setting, with
    commas. A ``guarded`` server needs tokens, which pages of other sites do not have, so it accepts
    all names.
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
        """Whether the name in a ``Host`` header or an origin is one of the setting."""
        name = name_in(host)
        return name is not None and _matches(name, self._named)

    def check(self, host: str) -> None:
        """Raise HostNotAllowed for a ``Host`` header that does not name this server."""
        if not self.includes(host):
            shown = name_in(host) or host
            raise HostNotAllowed(
                f"Host: {shown[:_SHOWN]!r} is no name of this server, which needs no tokens: "
                "use localhost or its address, or add the name to --allowed-hosts"
            )

    def _is_own(self, name: str) -> bool:
        address = _address(name)
        if address is not None:
            # A page of another site comes by a name. An address in Host is that of this server.
            return not self._loopback or address.is_loopback or address.is_unspecified
        if name in self._own or name.endswith(_LOCAL[1]) or _matches(name, self._named):
            return True
        return not self._loopback and ("." not in name or name.endswith(_PRIVATE))


def names_of(setting: str | None) -> frozenset[str]:
    """The names in the setting, in lower case. One that begins with a dot stands for a domain."""
    parts = (part.strip().lower() for part in (setting or "").split(","))
    return frozenset(part.removeprefix("*") if part != ANY else part for part in parts) - {""}


def name_in(host: str) -> str | None:
    """The name or address in a ``Host`` header, without the port; None if it is not valid."""
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
