"""Access as operators meet it: real processes, tokens in a file, requests over the socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gputel.errors import Forbidden, Unauthorized
from gputel.mq.client import QueueClient
from tests.helpers.processes import Gputel, Processes, free_port

READ, WRITE, PIPELINE, ADMIN = (letter * 32 for letter in "rwpa")
TOKENS = f"""# who may what
reader read {READ}
writer write {WRITE}
pipeline read,write {PIPELINE}
admin admin {ADMIN}
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(TOKENS)
    return file


class Server:
    """A process that asks for tokens, and requests to it."""

    def __init__(self, process: Gputel, port: int, http: aiohttp.ClientSession) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._http = http

    async def asks(
        self, method: str, path: str, token: str | None = None, **more: Any
    ) -> tuple[int, aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._http.request(method, self.url + path, headers=headers, **more) as reply:
            await reply.read()
            return reply.status, reply

    async def status(self, method: str, path: str, token: str | None = None, **more: Any) -> int:
        return (await self.asks(method, path, token, **more))[0]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["fast", "plain"])
async def broker(
    request: pytest.FixtureRequest,
    processes: Processes,
    tokens: Path,
    http: aiohttp.ClientSession,
) -> Server:
    port = free_port()
    plain = ["--plain-http"] if request.param == "plain" else []
    arguments: tuple[str | Path, ...] = (
        "--role",
        "broker",
        "--broker-port",
        str(port),
        "--token-file",
        tokens,
        *plain,
    )
    process = processes.start("run", *arguments)
    await process.says("ready")
    return Server(process, port, http)


async def test_a_broker_lets_in_by_scope(broker: Server) -> None:
    message = {"id": "1", "payload": "x"}
    assert await broker.status("GET", "/healthz") == 200
    assert await broker.status("GET", "/readyz") == 200
    status, reply = await broker.asks("POST", "/publish", json=message)
    assert status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert (await reply.json())["code"] == "unauthorized"
    assert await broker.status("POST", "/publish", "x" * 32, json=message) == 401
    status, reply = await broker.asks("POST", "/publish", READ, json=message)
    assert status == 403
    assert (await reply.json())["code"] == "forbidden"
    assert await broker.status("POST", "/publish", WRITE, json=message) == 202
    for path in ("/stats", "/metrics", "/queues", "/peek", "/dead-letters"):
        assert await broker.status("GET", path) == 401
        assert await broker.status("GET", path, WRITE) == 403
        assert await broker.status("GET", path, READ) == 200
    for method, path in (("PUT", "/queues/q"), ("POST", "/admin/drain")):
        assert await broker.status(method, path, PIPELINE) == 403
    assert await broker.status("PUT", "/queues/q", ADMIN, json={}) == 200
    assert await broker.status("GET", "/nothing") == 401
    assert await broker.status("GET", "/nothing", READ) == 404


async def test_a_large_body_is_refused_before_it_is_read(broker: Server) -> None:
    """A million such bodies would else fill the memory that those with a token need."""
    host, port = broker.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n")
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_the_client_of_the_queue_shows_its_token_to_one_broker_and_to_several(
    broker: Server,
) -> None:
    for url in (broker.url, f"{broker.url},{broker.url}/"):
        async with QueueClient(url, token=PIPELINE) as client:
            await client.send(b"x")
            (delivery,) = await client.consume(1, wait_s=5)
            await client.ack([(delivery.id, delivery.lease)])
            assert await client.check() is None
    async with QueueClient(broker.url) as client:
        with pytest.raises(Unauthorized, match="GPUTEL_TOKEN"):
            await client.publish([])
    async with QueueClient(broker.url, token=READ) as client:
        with pytest.raises(Forbidden, match="'reader' does not allow this: it needs write"):
            await client.send(b"x")


async def test_tokens_change_while_it_runs(broker: Server, tokens: Path) -> None:
    new = "n" * 32
    assert await broker.status("GET", "/stats", new) == 401
    changed = tokens.with_suffix(".new")
    changed.write_text(f"new read {new}\n")
    changed.replace(tokens)
    async with asyncio.timeout(60):
        while await broker.status("GET", "/stats", new) != 200:
            await asyncio.sleep(0.1)
    assert await broker.status("GET", "/stats", READ) == 401


async def test_the_roles_of_one_process_need_no_token_of_the_file(
    processes: Processes, tokens: Path, dsn: str, http: aiohttp.ClientSession
) -> None:
    api, broker = free_port(), free_port()
    arguments = ("--role", "all", "--api-port", str(api), "--broker-port", str(broker))
    source = ("--rate", "1000", "--token-file", tokens, "--data-dir", tokens.parent)
    process = processes.start("run", *arguments, *source, GPUTEL_POSTGRES_DSN=dsn)
    await process.says("ready")
    server = Server(process, api, http)
    for path in ("/", "/swagger", "/openapi.json", "/healthz", "/readyz"):
        assert await server.status("GET", path) == 200, path
    for path in ("/api/v1/gpus", "/metrics", "/prometheus/api/v1/labels", "/nothing"):
        assert await server.status("GET", path) == 401, path
    assert await server.status("GET", "/api/v1/gpus", WRITE) == 403
    query = {"data": {"query": "up"}}
    assert await server.status("POST", "/prometheus/api/v1/query", READ, **query) == 200
    async with asyncio.timeout(60):
        while True:
            _, reply = await server.asks("GET", "/api/v1/gpus", READ)
            if reply.status == 200 and await reply.json():
                break
            await asyncio.sleep(0.1)
    listed = await processes.run(
        *("query", "gpus", "--api-url", server.url, "--format", "json"), GPUTEL_TOKEN=READ
    )
    assert listed.process.returncode == 0
    assert listed.out.startswith("[{")
    refused = await processes.run("query", "gpus", "--api-url", server.url)
    assert refused.process.returncode == 1
    assert "GPUTEL_TOKEN" in refused.err
    stats = await processes.run(
        *("queue", "stats", "--broker-url", f"http://127.0.0.1:{broker}"), GPUTEL_TOKEN=READ
    )
    assert stats.process.returncode == 0, stats.err
    assert await process.stop() == 0
    assert not any(token in process.err for token in (READ, WRITE, PIPELINE, ADMIN))


async def test_a_role_with_a_wrong_token_ends_and_says_why(
    broker: Server, processes: Processes, dsn: str
) -> None:
    collector = processes.start(
        *("run", "--role", "collector"),
        GPUTEL_POSTGRES_DSN=dsn,
        GPUTEL_BROKER_URL=broker.url,
        GPUTEL_TOKEN=READ,
    )
    assert await collector.ended() == 1
    assert "'reader' does not allow this: it needs write" in collector.err


async def test_the_health_port_tells_its_metrics_to_readers_alone(
    broker: Server, processes: Processes, dsn: str, tokens: Path, http: aiohttp.ClientSession
) -> None:
    port = free_port()
    process = processes.start(
        *("run", "--role", "collector", "--health-port", str(port), "--token-file", tokens),
        GPUTEL_POSTGRES_DSN=dsn,
        GPUTEL_BROKER_URL=broker.url,
        GPUTEL_TOKEN=PIPELINE,
    )
    await process.says("ready")
    health = Server(process, port, http)
    assert await health.status("GET", "/healthz") == 200
    assert await health.status("GET", "/metrics") == 401
    assert await health.status("GET", "/metrics", READ) == 200
    assert await process.stop() == 0


async def test_no_server_opens_to_a_network_without_tokens(
    processes: Processes, tokens: Path
) -> None:
    port = str(free_port())
    arguments = ("run", "--role", "broker", "--host", "0.0.0.0", "--broker-port", port)
    refused = await processes.run(*arguments)
    assert refused.process.returncode == 2
    assert refused.err.count("\n") == 1
    for word in ("--host", "0.0.0.0", "--token-file", "--insecure"):
        assert word in refused.err
    for given in (("--insecure",), ("--token-file", tokens)):
        process = processes.start(*arguments, *given)
        await process.says("ready")
        assert await process.stop() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["No such file"]),
        ("reader read short\n", ["line 1", "reader", "openssl rand -hex 32"]),
    ],
)
async def test_a_wrong_file_of_tokens_is_one_line(
    processes: Processes, tmp_path: Path, text: str | None, words: list[str]
) -> None:
    file = tmp_path / "wrong"
    if text is not None:
        file.write_text(text)
    ended = await processes.run("run", "--role", "broker", "--token-file", file)
    assert ended.process.returncode == 2
    assert ended.err.count("\n") == 1
    for word in ["--token-file", str(file), *words]:
        assert word in ended.err


async def test_config_shows_no_token(processes: Processes) -> None:
    shown = await processes.run("config", GPUTEL_TOKENS=f"a read {READ}", GPUTEL_TOKEN=WRITE)
    assert shown.process.returncode == 0
    assert READ not in shown.out
    assert WRITE not in shown.out
    assert shown.out.count("***") == 2
