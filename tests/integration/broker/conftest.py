"""A broker on a loopback socket, a client of it, and plain HTTP beside it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from gputel.broker.queues.waiting import WaitingQueue
from gputel.broker.server import serve
from gputel.config.settings import BrokerSettings
from gputel.mq.client import QueueClient
from gputel.web.health import Health


@dataclass
class Broker:
    """A running broker: its address, and requests to it."""

    url: str
    port: int
    http: aiohttp.ClientSession
    client: QueueClient

    async def post(self, path: str, body: Any = b"", **headers: str) -> tuple[int, Any]:
        """POST a body (bytes as they are, anything else as JSON); status and decoded reply."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.http.post(self.url + path, data=data, headers=headers) as reply:
            return reply.status, decoded(reply, await reply.read())

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.http.get(self.url + path) as reply:
            return reply.status, decoded(reply, await reply.read())

    async def publish(self, *ids: str, **more: Any) -> None:
        for id_ in ids:
            status, _ = await self.post("/publish", {"id": id_, "payload": id_, **more})
            assert status == 202


def decoded(reply: aiohttp.ClientResponse, body: bytes) -> Any:
    if reply.content_type == "application/msgpack":
        return msgspec.msgpack.decode(body)
    return msgspec.json.decode(body) if body else None


@pytest.fixture(autouse=True, params=["fast", "plain"])
def plain_http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test of the broker runs with the fast path and without it."""
    plain: bool = request.param == "plain"
    monkeypatch.setattr(BrokerSettings, "__init__", _with(BrokerSettings.__init__, plain))
    return plain


def _with(init: Callable[..., None], plain: bool) -> Callable[..., None]:
    return lambda self, **settings: init(self, **{"plain_http": plain, **settings})


class Clock:
    """The time of every queue; it goes on by itself, and further when a test says so."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead_s

    def pass_(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._ahead_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(WaitingQueue, "now", lambda _queue: clock.now())
    return clock


Start = Callable[..., AbstractAsyncContextManager[Broker]]


@contextlib.asynccontextmanager
async def running(*, drain_deadline_s: float = 5.0, **settings: Any) -> AsyncIterator[Broker]:
    """A broker with some settings changed."""
    changed = BrokerSettings(**{"broker_port": 0, **settings})
    async with (
        serve(changed, "127.0.0.1", Health(), drain_deadline_s=drain_deadline_s) as listener,
        aiohttp.ClientSession() as http,
        QueueClient(listener.url) as client,
    ):
        yield Broker(listener.url, listener.port, http, client)


@pytest.fixture
def start() -> Start:
    """Start a broker with settings of one's own."""
    return running


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A broker with the default settings."""
    async with running() as started:
        yield started


async def until(broker: Broker, *, queue: str | None = None, **expected: int) -> None:
    """Wait until the stats of a queue, or of the default one, are as expected."""
    async with asyncio.timeout(60):
        while True:
            stats = await broker.client.stats(queue=queue)
            if all(stats[name] == value for name, value in expected.items()):
                return
            await asyncio.sleep(0.01)
