"""Which connections consume: while one of them is open, a draining broker waits for it."""

from __future__ import annotations

import asyncio

from aiohttp import web

_PRUNE_AT_LEAST = 64


class Consumers:
    """The open connections that have asked for messages, or acked them."""

    def __init__(self) -> None:
        self._transports: set[asyncio.Transport] = set()
        self._prune_at = _PRUNE_AT_LEAST

    def seen(self, request: web.Request) -> None:
        """Remember the connection of a request as a consumer's."""
        if request.transport is not None:
            self._transports.add(request.transport)
            if len(self._transports) > self._prune_at:
                self._prune_at = max(_PRUNE_AT_LEAST, 2 * self.connected())

    def connected(self) -> int:
        """How many of them are open now."""
        self._transports = {t for t in self._transports if not t.is_closing()}
        return len(self._transports)
