"""Targets from DNS (dns_sd): each address of a name, such as that of a headless Service."""

from __future__ import annotations

import asyncio
import socket

from gputel.streamer.scrape.discovery.kinds import DnsDiscovery, TargetGroup
from gputel.streamer.scrape.discovery.listing import Listing, joined
from gputel.threads import LOOKUPS

_TIMEOUT_S = 15.0


class DnsLister:
    """Lists the addresses of names. A name that does not resolve keeps its last addresses."""

    def __init__(self, discovery: DnsDiscovery) -> None:
        self._discovery = discovery
        self._known: dict[str, TargetGroup] = {}

    async def look(self) -> Listing:
        """The present addresses."""
        answers = [await self._resolve(name) for name in self._discovery.names]
        groups = tuple(self._known[name] for name in self._discovery.names if name in self._known)
        return Listing(groups, joined([problem for problem in answers if problem]))

    async def _resolve(self, name: str) -> str:
        """Look a name up. Returns the problem, if there is one."""
        port, family = self._discovery.port, self._discovery.type.value
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = await LOOKUPS.run(
                    socket.getaddrinfo, name, port, family=family, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            return f"the name {name} gets no answer within {_TIMEOUT_S:g} s"
        except (OSError, UnicodeError):
            return f"the name {name} does not resolve"
        hosts = sorted({str(address[0]) for *_, address in found})
        shown = [f"[{host}]" if ":" in host else host for host in hosts]
        self._known[name] = TargetGroup(tuple(f"{host}:{port}" for host in shown))
        return ""
