"""Replies that no client can read: an error that passes, and nothing ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from gputel.errors import BrokerUnavailable
from gputel.mq.client import OutgoingMessage, QueueClient

pack = msgspec.msgpack.encode
DELIVERY = {"id": "a", "key": "", "payload": b"", "metadata": 0, "lease": "l", "attempts": 1}
DEEP = pack([DELIVERY]).replace(b"metadata\x00", b"metadata\x81\xa1a" + b"\x91" * 200_000 + b"\xc0")

Ask = Callable[[QueueClient], Awaitable[object]]
ASKS: list[Ask] = [
    lambda client: client.consume(1),
    lambda client: client.ack_and_consume([("a", "l")], 1),
    lambda client: client.ack([("a", "l")]),
    lambda client: client.nack([("a", "l")]),
    lambda client: client.extend([("a", "l")], 5.0),
    lambda client: client.publish([OutgoingMessage(payload=b"")]),
    lambda client: client.held(["a"]),
    lambda client: client.stats(),
    lambda client: client.peek(),
    lambda client: client.declare("q"),
    lambda client: client.delete("q"),
]
BODIES = [
    b"",
    b"\xc1",
    DEEP,
    b"\x91" * 5_000,
    b"[" * 5_000,
    b"\x81\xa4code\xa1\xff",
    b"\xd6\xff\xff\xff\xff",
    b"\xc7\x0c\xff" + b"\xff" * 12,
    b"\xdd\xff\xff\xff\xff",
    b"9" * 5_000,
    b'{"code":"' + b"\xff" * 8 + b'"}',
    b"<html>",
    pack(5),
    pack([{"id": None}]),
]


@contextlib.asynccontextmanager
async def client_of(status: int, body: bytes) -> AsyncIterator[QueueClient]:
    """A client of a server that answers everything alike."""
    reply = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, QueueClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as own:
        yield own


@pytest.mark.parametrize("status", [200, 302, 400, 409, 503])
@pytest.mark.parametrize("body", BODIES)
async def test_whatever_is_answered_the_error_passes(status: int, body: bytes) -> None:
    async with client_of(status, body) as client:
        for ask in ASKS:
            with pytest.raises(BrokerUnavailable) as caught:
                await ask(client)
            assert caught.value.retriable


@pytest.mark.parametrize("ask", ASKS[2:7])
@pytest.mark.parametrize("count", [0, 2])
async def test_as_many_results_must_come_as_items_were_sent(ask: Ask, count: int) -> None:
    result = {"id": "a", "ok": True, "state": "accepted", "held": None}
    async with client_of(200, pack([result] * count)) as client:
        with pytest.raises(BrokerUnavailable, match="results for 1 items"):
            await ask(client)


async def test_a_late_reply_that_cannot_be_read_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DEEP) + DEEP)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, QueueClient(url) as client:
        consuming = asyncio.create_task(client.consume(1, wait_s=10))
        await asked.wait()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
    assert not caplog.records
