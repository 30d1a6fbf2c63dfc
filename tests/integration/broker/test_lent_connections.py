"""A request that is not hot is lent to aiohttp, and the connection comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gputel import metrics
from gputel.broker.fast.connection import FastPath, HotRoutes
from gputel.broker.queues.queues import Queues
from gputel.broker.requests.messages import Consumers
from gputel.broker.server import make_app
from gputel.config.settings import BrokerSettings
from gputel.web.health import Health
from gputel.web.server.listener import listen
from gputel.web.server.patience import Patience
from tests.helpers.raw_http import Raw, raw_to, request

SLOW = request("/slow", method="GET")
LARGE_BYTES = 32 * 1024 * 1024


@dataclass
class Server:
    """A broker with a slow and a large answer that aiohttp gives."""

    port: int = 0
    slow: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer_slowly(self, _request: web.Request) -> web.Response:
        self.begun.set()
        try:
            await self.slow.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return web.json_response("slow")


@asynccontextmanager
async def serving(**patience: float) -> AsyncIterator[Server]:
    settings, server = BrokerSettings(), Server()
    queues = Queues(settings)
    app = make_app(queues, settings, Health(), Consumers())
    app.router.add_get("/slow", server.answer_slowly)
    app.router.add_get("/large", answer_much)
    make = HotRoutes.of(app).connection
    async with listen(
        app, "127.0.0.1", 0, "--port", connection=make, patience=Patience(**patience)
    ) as listener:
        server.port = listener.port
        yield server
    queues.stop()


async def answer_much(_request: web.Request) -> web.Response:
    return web.Response(body=bytes(LARGE_BYTES))


@pytest.fixture
def plain_http() -> None:
    """There is only the fast path here."""


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that the fast path answered."""
    paths: list[str] = []
    answer = FastPath._answer

    async def noting(self: FastPath, hot_request) -> None:
        paths.append(hot_request.path)
        await answer(self, hot_request)

    monkeypatch.setattr(FastPath, "_answer", noting)
    return paths


def held() -> bytes:
    return request("/held", b'[{"id":"a"}]')


async def begun(server: Server) -> None:
    async with asyncio.timeout(60):
        await server.begun.wait()


async def test_hot_requests_that_come_meanwhile_are_answered_after_it(hot: list[str]) -> None:
    async with serving() as server, raw_to(server.port) as raw:
        await raw.send(SLOW)
        await begun(server)
        await raw.send(held())
        await raw.send(held() + SLOW + held())
        server.slow.set()
        replies = [await raw.reply() for _ in range(5)]
    assert [reply.status for reply in replies] == [200] * 5
    assert [reply.body == "slow" for reply in replies] == [True, False, False, True, False]
    assert hot[:2] == ["/held", "/held"]


async def test_pipelined_request_that_is_lent_keeps_its_turn() -> None:
    async with serving() as server, raw_to(server.port) as raw:
        await raw.send(held() + SLOW)
        await begun(server)
        await raw.send(held())
        asyncio.get_running_loop().call_later(0.1, server.slow.set)
        replies = [await raw.reply() for _ in range(3)]
    assert [reply.body == "slow" for reply in replies] == [False, True, False]


async def test_connection_is_fast_again_after_each_of_many(hot: list[str]) -> None:
    async with serving() as server, raw_to(server.port) as raw:
        for _ in range(20):
            await raw.send(request("/stats", method="GET"))
            assert (await raw.reply()).status == 200
            await raw.send(request("/no/such/page", method="GET"))
            assert (await raw.reply()).status == 404
            await raw.send(held())
            assert (await raw.reply()).status == 200
    assert len(hot) == 20


async def test_client_that_leaves_cancels_the_request_that_aiohttp_answers() -> None:
    async with serving() as server:
        raw = await Raw.to(server.port)
        await raw.send(SLOW)
        await begun(server)
        raw.vanish()
        async with asyncio.timeout(60):
            await server.cancelled.wait()


async def test_request_that_asks_to_close_is_not_taken_back(hot: list[str]) -> None:
    async with serving() as server, raw_to(server.port) as raw:
        await raw.send(request("/stats", b"", "Connection: close", method="GET"))
        rest = await raw.rest()
    assert rest.startswith(b"HTTP/1.1 200")
    assert hot == []


async def test_stopping_lets_a_lent_request_end() -> None:
    async with serving() as server:
        raw = await Raw.to(server.port)
        await raw.send(SLOW)
        await begun(server)
        asyncio.get_running_loop().call_later(0.2, server.slow.set)
    assert (await raw.reply()).body == "slow"
    assert await raw.rest() == b""


async def test_slow_reader_of_a_reply_by_aiohttp_is_cut_off() -> None:
    before = stuck()
    async with serving(reply_s=0.3) as server, raw_to(server.port) as raw:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(request("/large", method="GET"))
        async with asyncio.timeout(60):
            while stuck() == before:
                await asyncio.sleep(0.01)
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await raw.rest()) < LARGE_BYTES


def stuck() -> float:
    labels = {"reason": "stuck"}
    return metrics.REGISTRY.get_sample_value("gputel_http_connections_closed_total", labels) or 0.0


@pytest.mark.parametrize("last", [request("/stats", method="GET"), held()], ids=["lent", "hot"])
async def test_idle_time_counts_from_the_last_reply(last: bytes) -> None:
    async with serving(idle_s=0.5) as server:
        while (open_s := await open_after(server.port, last)) is None:
            pass  # this machine was so slow that the connection was idle before
    assert open_s > 0.4


async def open_after(port: int, last: bytes) -> float | None:
    """Seconds until a connection is closed after its last request; None: it was closed before."""
    loop = asyncio.get_running_loop()
    async with raw_to(port) as raw:
        await raw.send(held())
        await raw.reply()
        await asyncio.sleep(0.2)
        sent_at = loop.time()
        await raw.send(last)
        try:
            await raw.reply()
        except (ConnectionError, asyncio.IncompleteReadError):
            return None
        assert await raw.rest() == b""
        return loop.time() - sent_at
