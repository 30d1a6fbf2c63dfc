"""How much one client may ask: requests a second, and requests at once."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.errors import TooManyRequests
from gputel.web.access.access import ScopeOf
from gputel.web.errors import Handler
from gputel.web.headers.added import SHOWN, add_headers

_MOST_CLIENTS = 10_000


@dataclass
class _Client:
    left: float  # requests that it may make at once
    at: float  # the loop's seconds, when that was so
    running: int = 0


class Throttle:
    """A bucket of requests for each client, filled at a steady rate.

    ``rate`` requests a second on average, ``burst`` at once, ``at_once`` unanswered ones; a limit
    of 0 is none. Of clients that did not ask for long the oldest are forgotten.
    """

    def __init__(self, rate: float = 0, burst: int = 1, at_once: int = 0) -> None:
        self._rate = rate
        self._burst = max(1, burst)
        self._at_once = at_once
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    @property
    def unlimited(self) -> bool:
        """Whether there is nothing to count."""
        return not self._rate and not self._at_once

    def enter(self, who: str, now: float) -> dict[str, str]:
        """Count a request, until ``leave``; the headers that tell what is left.

        Raises TooManyRequests, which was not counted.
        """
        client = self._client(who, now)
        if self._at_once and client.running >= self._at_once:
            raise _refusal(
                f"{who} has {client.running} requests unanswered, and {self._at_once} is the most "
                "at once: wait for one of them (--concurrency-limit)",
                {"Retry-After": "1"},
            )
        if not self._rate:
            client.running += 1
            return {}
        client.left = min(self._burst, client.left + (now - client.at) * self._rate)
        client.at = now
        if client.left < 1:
            wait_s = math.ceil((1 - client.left) / self._rate)
            raise _refusal(
                f"{who} has asked {self._rate:g} times a second for too long: try again in "
                f"{wait_s} s (--rate-limit, --rate-burst)",
                {"Retry-After": str(wait_s), **self._told(client)},
            )
        client.left -= 1
        client.running += 1
        return self._told(client)

    def leave(self, who: str) -> None:
        """The request was answered."""
        client = self._clients.get(who)
        if client is not None:
            client.running -= 1

    def _client(self, who: str, now: float) -> _Client:
        client = self._clients.get(who)
        if client is None:
            client = self._clients[who] = _Client(self._burst, now)
            if len(self._clients) > _MOST_CLIENTS:
                self._forget_one()
        self._clients.move_to_end(who)
        return client

    def _forget_one(self) -> None:
        idle = next((who for who, client in self._clients.items() if not client.running), None)
        if idle is not None:
            del self._clients[idle]

    def _told(self, client: _Client) -> dict[str, str]:
        full_s = math.ceil((self._burst - client.left) / self._rate)
        return {
            "RateLimit-Limit": str(self._burst),
            "RateLimit-Remaining": str(int(client.left)),
            "RateLimit-Reset": str(full_s),
        }


def _refusal(message: str, headers: dict[str, str]) -> TooManyRequests:
    error = TooManyRequests(message)
    error.headers = MappingProxyType(headers)
    return error


def throttle_middleware(throttle: Throttle, scope_of: ScopeOf) -> Middleware:
    """A middleware that counts the requests of each token, or of each address without tokens.

    What needs no token is not counted: health, and the pages.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if throttle.unlimited or scope_of(request) is None:
            return await handler(request)
        token = request.get(SHOWN)
        who = f"token {token.name!r}" if token else f"address {request.remote}"
        add_headers(request, throttle.enter(who, asyncio.get_running_loop().time()))
        try:
            return await handler(request)
        finally:
            throttle.leave(who)

    return middleware
