"""The thin HTTP client against servers that answer whatever the test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gputel.mq.client.http import ConnectionLost, HttpClient, HttpReply, HttpRequest, NotABroker

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = HttpRequest("GET", "/x", b"", again=True)
POST = HttpRequest("POST", "/x", b"body")


@contextlib.asynccontextmanager
async def wire_to(serve: Serve) -> AsyncIterator[HttpClient]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    wire = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base", {"A": "b"})
    yield wire
    await wire.aclose()
    server.close()
    await asyncio.sleep(0.01)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answers(*pieces: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)

    return serve


async def test_connection_is_kept_and_requests_are_whole() -> None:
    heads: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            heads.append(await head_of(reader))
            await reader.readexactly(int(heads[-1].rpartition(b"Content-Length: ")[2]))
            writer.write(OK)

    async with wire_to(serve) as wire:
        for body in (b"", b"x" * 10, b"x" * 300_000):
            reply = await wire.exchange(HttpRequest("POST", "/publish?a=1", body), 60)
            assert reply == HttpReply(200, b"ok")
    assert connections == 1
    assert heads[1].startswith(b"POST /base/publish?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nA: b\r\n" in heads[1]


@pytest.mark.parametrize("size", [1, 3, 17])
async def test_reply_may_come_in_any_pieces(size: int) -> None:
    pieces = [OK[n : n + size] for n in range(0, len(OK), size)]
    async with wire_to(answers(*pieces)) as wire:
        assert await wire.exchange(GET, 60) == HttpReply(200, b"ok")


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000,
    ],
)
async def test_what_is_no_broker_is_refused(reply: bytes) -> None:
    async with wire_to(answers(reply)) as wire:
        with pytest.raises(NotABroker):
            await wire.exchange(GET, 60)


async def test_reply_that_breaks_off_is_lost() -> None:
    async with wire_to(answers(OK[:-1])) as wire:
        with pytest.raises(ConnectionLost) as caught:
            await wire.exchange(GET, 60)
        assert caught.value.begun


@pytest.mark.parametrize(("request_", "raises"), [(GET, False), (POST, True)])
async def test_kept_connection_that_dies_is_replaced_only_where_twice_does_no_harm(
    request_: HttpRequest, raises: bool
) -> None:
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await head_of(reader)
        seen += 1
        writer.write(OK)
        await head_of(reader)
        seen += 1

    async with wire_to(serve) as wire:
        await wire.exchange(GET, 60)
        if raises:
            with pytest.raises(ConnectionLost):
                await wire.exchange(request_, 60)
        else:
            assert (await wire.exchange(request_, 60)).status == 200
    assert seen == (2 if raises else 3)


async def test_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with wire_to(serve) as wire:
        await wire.exchange(POST, 60)
        await closed.wait()
        await asyncio.sleep(0.05)  # the loop looks at its sockets before this is over
        assert (await wire.exchange(POST, 60)).status == 200


async def test_silence_is_a_timeout() -> None:
    async with wire_to(lambda reader, writer: reader.read()) as wire:  # type: ignore[arg-type, return-value]
        with pytest.raises(TimeoutError):
            await wire.exchange(GET, 0.05)


async def test_reply_to_a_caller_that_was_cancelled_is_handed_over_late() -> None:
    late: list[HttpReply] = []
    came = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        came.set()
        assert await reader.read() == b"body"  # its end: the client tells that it leaves
        writer.write(OK)

    async def keep(reply: HttpReply) -> None:
        late.append(reply)

    async with wire_to(serve) as wire:
        task = asyncio.create_task(wire.exchange(POST, 60, keep))
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert late == [HttpReply(200, b"ok")]


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8081", "http://"])
def test_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        HttpClient(url, {})
