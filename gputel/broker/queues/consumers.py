"""Which connections consume: while one of them is open, a draining broker waits for it."""

from __future__ import annotations

from weakref import WeakSet

from aiohttp import web


class Consumers:
    """The open connections that have asked for messages, or acked them."""

    def __init__(self) -> None:
        self._connections: WeakSet[web.RequestHandler] = WeakSet()

    def seen(self, request: web.Request) -> None:
        """Remember the connection of a request as a consumer's."""
        if request.transport is not None:
            self._connections.add(request.protocol)

    def connected(self) -> int:
        """How many of them are open now."""
        transports = [connection.transport for connection in self._connections]
        return sum(transport is not None and not transport.is_closing() for transport in transports)
