"""Crowds of connections: as many as may be, none for ever, and health is always answered."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from gputel import metrics
from gputel.web.access.own_names import OwnNames
from gputel.web.access.site import site_middleware
from gputel.web.errors import error_middleware
from gputel.web.health import Health, add_health_routes
from gputel.web.server.listener import Listener, listen
from gputel.web.server.open_connections import OpenConnections
from gputel.web.server.patience import Patience
from gputel.web.server.tls import Certificate
from tests.helpers.raw_http import Raw, RawReply, raw_to, request

HEALTH = request("/healthz", method="GET")


class Server:
    """A listener, its connections, and a path that answers when it may."""

    def __init__(self, listener: Listener, counted: OpenConnections, go: asyncio.Event) -> None:
        self.port = listener.port
        self.open = counted
        self.go = go
        self.waiting = 0

    async def asked(self, data: bytes = HEALTH, client: str = "127.0.0.1") -> RawReply:
        async with raw_to(self.port) if client == "127.0.0.1" else raw_of(client, self.port) as raw:
            await raw.send(data)
            return await raw.reply()

    async def busy(self, count: int) -> list[Raw]:
        """So many connections, each with a request that waits until ``go``."""
        raws = [await Raw.to(self.port) for _ in range(count)]
        for raw in raws:
            await raw.send(request("/wait", method="GET"))
        await self.until_open(count)
        async with asyncio.timeout(60):
            while self.waiting < count:
                await asyncio.sleep(0.01)
        return raws

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.open.count != count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def raw_of(client: str, port: int) -> AsyncIterator[Raw]:
    raw = Raw(*await asyncio.open_connection("127.0.0.1", port, local_addr=(client, 0)))
    yield raw
    raw.writer.transport.abort()


@asynccontextmanager
async def serving(
    most: int = 100, of_client: int = 0, head_s: float = 15.0, **more
) -> AsyncIterator[Server]:
    go = asyncio.Event()

    async def wait(_request: web.Request) -> web.Response:
        server.waiting += 1
        await go.wait()
        return web.Response(text="done")

    app = web.Application(middlewares=[error_middleware, site_middleware(OwnNames())])
    app.router.add_get("/wait", wait)
    add_health_routes(app, Health())
    counted = OpenConnections(most, of_client, head_s)
    async with listen(app, "127.0.0.1", 0, "--port", open_connections=counted, **more) as listener:
        server = Server(listener, counted, go)
        yield server


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def idle(sockets: ExitStack, port: int, count: int) -> list[socket.socket]:
    made = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    return [sockets.enter_context(sock) for sock in made]


def closed(reason: str) -> float:
    name, labels = "gputel_http_connections_closed_total", {"reason": reason}
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_where_there_are_too_many_the_longest_idle_are_closed_and_the_log_tells_once(
    sockets: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    before = closed("idle")
    async with serving(most=50, of_client=50) as server:
        made = idle(sockets, server.port, 50)
        await server.until_open(50)
        for _ in range(20):
            assert (await server.asked()).status == 200
        for _ in range(200):
            idle(sockets, server.port, 1)
        assert (await server.asked()).status == 200
        async with asyncio.timeout(60):  # those that got a refusal have a place until it is read
            while server.open.count > 50:
                await asyncio.sleep(0.01)
        assert made[0].recv(1) == b""
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "--connections-max" in lines[0]
    assert "127.0.0.1" in lines[0]
    assert closed("idle") >= before + 50


async def test_a_connection_that_had_an_answer_outlives_those_that_sent_nothing(
    sockets: ExitStack,
) -> None:
    async with serving(most=50, of_client=50) as server, raw_to(server.port) as used:
        await used.send(HEALTH)
        await used.reply()
        for _ in range(300):
            idle(sockets, server.port, 1)
        await server.asked()
        await used.send(HEALTH)
        assert (await used.reply()).status == 200


async def test_where_all_are_busy_others_are_told_so_and_health_is_answered(
    sockets: ExitStack,
) -> None:
    async with serving(most=20, of_client=100) as server:
        busy = await server.busy(20)
        idle(sockets, server.port, 200)  # and who sends nothing takes no spare place for long
        for _ in range(5):
            assert (await server.asked()).status == 200
        reply = await server.asked(request("/wait", method="GET"))
        assert (reply.status, reply.body["code"]) == (503, "busy")
        assert "--connections-max" in reply.body["message"]
        assert reply.fields["connection"] == "close"
        server.go.set()
        assert [(await raw.reply()).status for raw in busy] == [200] * 20
        for raw in busy:
            raw.writer.transport.abort()


async def test_one_client_leaves_room_to_others(sockets: ExitStack) -> None:
    async with serving(most=40, of_client=10) as server:
        busy = await server.busy(10)
        reply = await server.asked(request("/wait", method="GET"))
        assert (reply.status, reply.body["code"]) == (503, "busy")
        assert "--connections-of-client-max" in reply.body["message"]
        server.go.set()
        other = await server.asked(request("/wait", method="GET"), client="127.0.0.2")
        assert other.status == 200
        for raw in busy:
            raw.writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", HEALTH])
async def test_heads_that_do_not_come_end_the_connection(sent: bytes) -> None:
    async with serving(head_s=0.3) as server, raw_to(server.port) as raw:
        await raw.send(sent)
        if sent == HEALTH:
            assert (await raw.reply()).status == 200
            await raw.send(b"GET /healthz HT")
        assert await raw.rest() == b""
        await server.until_open(0)


async def test_a_head_that_drips_ends_the_connection() -> None:
    async with serving(head_s=0.3) as server, raw_to(server.port) as raw:
        for _ in range(1000):
            await raw.send(b"a")
            await asyncio.sleep(0.02)
            if raw.reader.at_eof() or raw.writer.transport.is_closing():
                break
        else:
            pytest.fail("it could go on for ever")


async def test_a_connection_that_is_used_stays_longer_than_a_head_may_take() -> None:
    async with serving(head_s=0.2) as server, raw_to(server.port) as raw:
        for _ in range(4):
            await raw.send(HEALTH)
            assert (await raw.reply()).status == 200
            await asyncio.sleep(0.3)


async def test_tls_handshakes_that_do_not_end_are_ended(
    tmp_path: Path, sockets: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key = tmp_path / "crt", tmp_path / "key"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with serving(most=40, of_client=40, head_s=0.5, certificate=Certificate(cert, key)) as s:
        idle(sockets, s.port, 30)
        for sock in idle(sockets, s.port, 10):
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        await s.until_open(40)
        for _ in range(5):
            made = await asyncio.open_connection("localhost", s.port, ssl=context, family=2)
            raw = Raw(*made)
            await raw.send(HEALTH)
            assert (await raw.reply()).status == 200
            raw.writer.transport.abort()
        for sock in idle(sockets, s.port, 5):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await s.until_open(0)
    assert [r for r in caplog.records if r.exc_info] == []


async def test_without_a_file_left_it_neither_spins_nor_ends(
    sockets: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server:
        clients = [sockets.enter_context(socket.socket()) for _ in range(5)]
        for sock in clients:
            sock.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (clients[-1].fileno() + 1, hard))
        try:
            for sock in clients:
                sock.connect_ex(("127.0.0.1", server.port))
                sock.send(HEALTH)
            began, cpu = asyncio.get_running_loop().time(), resource.getrusage(0).ru_utime
            while asyncio.get_running_loop().time() - began < 0.7:
                await asyncio.sleep(0.05)
            assert resource.getrusage(0).ru_utime - cpu < 0.35
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        loop = asyncio.get_running_loop()
        for sock in clients:
            async with asyncio.timeout(60):
                assert (await loop.sock_recv(sock, 100)).startswith(b"HTTP/1.1 200")
    lines = [r.getMessage() for r in caplog.records if "cannot accept" in r.getMessage()]
    assert len(lines) == 1


async def test_a_client_that_never_takes_its_last_reply_is_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gputel.web.server.open_connections._SWEEP_S", 0.2)
    patience = Patience(idle_s=0.3, reply_s=1.0)
    async with serving(patience=patience) as server, raw_to(server.port) as raw:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(30):
            await raw.send(request("/metrics", method="GET") * 10)
            await asyncio.sleep(0.01)
        await server.until_open(0)
