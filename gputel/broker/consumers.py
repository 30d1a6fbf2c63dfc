"""Which connections consume: while one of them is open, a draining broker waits for it."""

from __future__ import annotations

import asyncio
from weakref import WeakSet

from aiohttp import web


class Consumers:
    """The open connections that have asked for messages, or acked them."""

    def __init__(self) -> None:
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    def seen(self, request: web.Request) -> None:
        """Remember the connection of a request as a consumer's."""
        if request.transport is not None:
            self._transports.add(request.transport)

    def connected(self) -> int:
        """How many of them are open now."""
        return sum(not transport.is_closing() for transport in self._transports)
