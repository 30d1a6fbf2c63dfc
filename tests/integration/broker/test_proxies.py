"""The proxies of the environment are shown nothing by the clients of gputel's own servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gputel.cli.ask import api
from gputel.cli.ask.broker import Broker as AskedBroker
from gputel.mq.client import QueueClient
from gputel.mq.connect import connect
from tests.integration.broker.conftest import Broker

TOKEN = "a-token-of-the-admin"


@pytest.fixture(autouse=True)
def plain_http() -> bool:
    """The clients do not know how the broker reads requests: each test runs once."""
    return False


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A proxy that the environment names in every way; it accepts nobody by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, url)
            monkeypatch.setenv(name.upper(), url)
        monkeypatch.setenv("GPUTEL_TOKEN", TOKEN)
        yield listening


def nobody_came(proxy: socket.socket) -> bool:
    try:
        connection, _ = proxy.accept()
    except BlockingIOError:
        return True
    connection.close()
    return False


async def test_the_commands_ask_the_broker_and_the_api_directly(
    broker: Broker, proxy: socket.socket
) -> None:
    stats = await asyncio.to_thread(AskedBroker(broker.url, "default").ask, "/stats")
    assert stats["queue"] == "default"

    def queues() -> bytes:
        with api.get(broker.url, ("queues",), {}) as pieces:  # any server of ours will do
            return b"".join(pieces)

    assert b"default" in await asyncio.to_thread(queues)
    assert nobody_came(proxy)


async def test_the_clients_of_the_queue_ask_directly(broker: Broker, proxy: socket.socket) -> None:
    async with QueueClient(broker.url, token=TOKEN) as client:
        await client.send(b"one")
    async with connect([broker.url, broker.url + "/"], token=TOKEN) as client:
        assert (await client.stats())["ready"] == 1
    assert nobody_came(proxy)
