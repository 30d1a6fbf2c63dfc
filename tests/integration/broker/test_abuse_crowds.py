"""Crowds: thousands of idle consumers, and more bodies at once than memory would hold."""

import asyncio
import resource
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from gputel.mq.client import OutgoingMessage, QueueClient
from tests.helpers.processes import Gputel, free_port, processes_in
from tests.helpers.raw_http import request

CROWD = 10_000
KEPT_FREE = 500  # file descriptors for everything else
BYTES_A_CONSUMER = 64 * 1024
MIB = 1024 * 1024
ROOM_BYTES = 32 * MIB
UPLOADS, BODY_BYTES = 60, 8 * MIB


@pytest.fixture
def file_descriptors() -> Iterator[int]:
    """As many as this process, and those it starts, may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def process(tmp_path: Path, plain_http: bool):
    """A broker in a process of its own: what it was started as, its port, a client."""
    port = free_port()
    async with processes_in(tmp_path) as processes:
        broker = processes.start(
            *("run", "--role", "broker", "--broker-port", str(port)),
            "--plain-http" if plain_http else "--no-plain-http",
            GPUTEL_DATA_DIR=str(tmp_path),
            GPUTEL_REQUESTS_MAX_BYTES=str(ROOM_BYTES),
        )
        await broker.says("ready")
        async with QueueClient(f"http://127.0.0.1:{port}") as client:
            yield broker, port, client
        assert await broker.stop() == 0


def memory(broker: Gputel) -> int:
    return psutil.Process(broker.process.pid).memory_info().rss


async def until_waiting(client: QueueClient, count: int) -> None:
    while (await client.stats(queue="crowd"))["waiting_consumers"] != count:
        await asyncio.sleep(0.01)


async def serves(client: QueueClient) -> None:
    """See that a message goes through."""
    await client.publish([OutgoingMessage(id="a", payload=b"x")])
    (delivery,) = await client.consume(1, None, 5.0)
    assert [result.ok for result in await client.ack([(delivery.id, delivery.lease)])] == [True]


async def test_ten_thousand_idle_consumers_disturb_nobody(process, file_descriptors) -> None:
    broker, port, client = process
    crowd = min(CROWD, file_descriptors - KEPT_FREE)
    print(f"{crowd} idle consumers, of {CROWD}")
    before = memory(broker)
    with ExitStack() as sockets:
        for n in range(1, crowd + 1):
            sock = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(request("/consume?queue=crowd"))
            if n % 100 == 0:  # no more at once than a listener lets wait
                await until_waiting(client, n)
        await until_waiting(client, crowd)
        grown = memory(broker) - before
        print(f"{grown / crowd / 1024:.1f} KiB a consumer")
        assert grown < crowd * BYTES_A_CONSUMER
        await serves(client)
    await until_waiting(client, 0)
    await client.publish([OutgoingMessage(id="left", payload=b"")], queue="crowd")
    (delivery,) = await client.consume(1, None, 5.0, queue="crowd")
    assert delivery.attempts == 1
    await client.ack([(delivery.id, delivery.lease)], queue="crowd")
    await serves(client)


async def upload(port: int, data: memoryview) -> bytes:
    """Send it on a connection of its own; the first line of the reply, nothing for none."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        try:
            await loop.sock_sendall(sock, data)
            return (await loop.sock_recv(sock, 4096)).partition(b"\r\n")[0]
        except ConnectionError:
            return b""


async def test_far_more_bodies_than_may_be_held_take_bounded_memory(process) -> None:
    broker, port, client = process
    await serves(client)
    before = most = memory(broker)
    whole = memoryview(request("/publish", b'{"payload":"' + b"x" * BODY_BYTES))  # never stored
    uploads = [asyncio.create_task(upload(port, whole)) for _ in range(UPLOADS)]
    while not all(task.done() for task in uploads):
        most = max(most, memory(broker))
        await serves(client)
    replies = Counter(task.result() for task in uploads)
    print(f"{(most - before) / MIB:.0f} MiB more for {UPLOADS} x {BODY_BYTES / MIB:.0f}: {replies}")
    assert replies[b"HTTP/1.1 400 Bad Request"] > 0
    assert set(replies) <= {
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 503 Service Unavailable",
        b"",
    }
    assert most - before < 6 * ROOM_BYTES < UPLOADS * BODY_BYTES
