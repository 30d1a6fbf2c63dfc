"""Limits of one client: requests per second, and concurrent requests."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.errors import Busy, TooManyRequests
from gputel.web.access.access import ScopeOf
from gputel.web.errors import Handler
from gputel.web.headers.added import SHOWN, add_headers

_MOST_CLIENTS = 10_000


@dataclass
class _Bucket:
    tokens: float  # requests that the client may send now
    filled_at: float  # seconds of the event loop when ``tokens`` was computed
    running: int = 0


class Throttle:
    """A token bucket for each client.

    A client may send ``rate`` requests per second on average, ``burst`` requests at once, and have
    ``at_once`` concurrent requests. 0 means no limit. If there are too many clients, the bucket of
    the client whose last request is the oldest is deleted.
    """

    def __init__(self, rate: float = 0, burst: int = 1, at_once: int = 0) -> None:
        self._rate = rate
        self._burst = max(1, burst)
        self._at_once = at_once
        self._clients: OrderedDict[str, _Bucket] = OrderedDict()

    @property
    def unlimited(self) -> bool:
        """Whether there are no limits."""
        return not self._rate and not self._at_once

    def enter(self, who: str, now: float) -> dict[str, str]:
        """Count a request that lasts until ``leave``. Returns the RateLimit headers.

        Raises TooManyRequests if it is over a limit; then it is not counted.
        """
        client = self._client(who, now)
        if self._at_once and client.running >= self._at_once:
            raise _refusal(
                f"{who} has {client.running} requests without an answer, and the limit is "
                f"{self._at_once}: wait for one of them (--concurrency-limit)",
                {"Retry-After": "1"},
            )
        if not self._rate:
            client.running += 1
            return {}
        client.tokens = min(self._burst, client.tokens + (now - client.filled_at) * self._rate)
        client.filled_at = now
        if client.tokens < 1:
            wait_s = math.ceil((1 - client.tokens) / self._rate)
            raise _refusal(
                f"{who} sends more than {self._rate:g} requests per second: try again in "
                f"{wait_s} s (--rate-limit, --rate-burst)",
                {"Retry-After": str(wait_s), **self._headers(client)},
            )
        client.tokens -= 1
        client.running += 1
        return self._headers(client)

    def leave(self, who: str) -> None:
        """Note that the request has been answered."""
        client = self._clients.get(who)
        if client is not None:
            client.running -= 1

    def _client(self, who: str, now: float) -> _Bucket:
        client = self._clients.get(who)
        if client is None:
            client = self._clients[who] = _Bucket(self._burst, now)
            if len(self._clients) > _MOST_CLIENTS:
                self._forget_one()
        self._clients.move_to_end(who)
        return client

    def _forget_one(self) -> None:
        idle = next((who for who, client in self._clients.items() if not client.running), None)
        if idle is not None:
            del self._clients[idle]

    def _headers(self, client: _Bucket) -> dict[str, str]:
        full_s = math.ceil((self._burst - client.tokens) / self._rate)
        return {
            "RateLimit-Limit": str(self._burst),
            "RateLimit-Remaining": str(int(client.tokens)),
            "RateLimit-Reset": str(full_s),
        }


def _refusal(message: str, headers: dict[str, str]) -> TooManyRequests:
    error = TooManyRequests(message)
    error.headers = MappingProxyType(headers)
    return error


def throttle_middleware(
    throttle: Throttle, scope_of: ScopeOf, busy_at: Collection[str] = ()
) -> Middleware:
    """A middleware that limits each token, or each address if there are no tokens.

    Paths that need no token are not limited: health, and the pages. At the paths ``busy_at`` the
    refusal is a 503, because their clients try again after that, but not after a 429.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if throttle.unlimited or scope_of(request) is None:
            return await handler(request)
        token = request.get(SHOWN)
        who = f"token {token.name!r}" if token else f"address {request.remote}"
        try:
            headers = throttle.enter(who, asyncio.get_running_loop().time())
        except TooManyRequests as refusal:
            if request.path not in busy_at:
                raise
            busy = Busy(refusal.message)
            busy.headers = refusal.headers
            raise busy from None
        add_headers(request, headers)
        try:
            return await handler(request)
        finally:
            throttle.leave(who)

    return middleware
