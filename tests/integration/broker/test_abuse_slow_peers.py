"""Peers that are slow, stop half-way or vanish: cut off in time, and nothing of theirs is kept."""

import asyncio
from pathlib import Path

import pytest

from gputel.mq.client import OutgoingMessage
from tests.helpers.raw_http import Raw, message, raw_to, request
from tests.integration.broker.conftest import until

LONG = b'{"id":"long","payload":"' + b"x" * 200_000 + b'"}'
SOCKETS = Path("/proc/net/tcp")
CHUNKED = "Transfer-Encoding: chunked"


async def drip(raw: Raw, data: bytes) -> None:
    """Write a byte after another for as long as the other side takes them."""
    for byte in data:
        await raw.send(bytes([byte]))
        await asyncio.sleep(0.02)
        if raw.reader.at_eof() or raw.writer.transport.is_closing():
            return


@pytest.mark.parametrize("sent", [b"", b"POST /publish HTTP/1.1\r\nHo", message("a")[:-20]])
async def test_connection_that_falls_silent_is_closed(start, sent) -> None:
    async with start(idle_timeout_s=1, receive_timeout_s=1) as broker:
        async with raw_to(broker.port) as raw:
            await raw.send(sent)
            await raw.rest()
        assert (await broker.client.stats())["published"] == 0


async def test_connection_that_stays_idle_after_a_reply_is_closed(start) -> None:
    async with start(idle_timeout_s=1) as broker, raw_to(broker.port) as raw:
        await raw.send(message("a"))
        assert (await raw.reply()).status == 202
        assert await raw.rest() == b""


async def test_connection_that_waits_for_a_message_is_not_idle(start) -> None:
    patience = {"idle_timeout_s": 0.2, "receive_timeout_s": 0.2}
    async with start(**patience) as broker, raw_to(broker.port) as raw:
        await raw.send(request("/consume"))
        await until(broker, waiting_consumers=1)
        await asyncio.sleep(1)
        await broker.publish("a")
        assert (await raw.reply()).body["id"] == "a"


async def test_head_that_comes_byte_by_byte_and_never_ends_is_closed(start) -> None:
    async with start(idle_timeout_s=0.5) as broker, raw_to(broker.port) as raw:
        endless = b"POST /publish HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000
        await asyncio.gather(drip(raw, endless), raw.rest())


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"Content-Length: {len(LONG)}", LONG),
        ("Content-Length: 3000", b" " * 3000),
        (CHUNKED, b"1\r\nx\r\n" * 1000),
    ],
)
async def test_body_that_comes_byte_by_byte_is_refused_then_closed(start, head, body) -> None:
    async with start(receive_timeout_s=0.5, idle_timeout_s=60) as broker:
        async with raw_to(broker.port) as raw:
            await raw.send(request("/publish", b"", head))
            dripping = asyncio.create_task(drip(raw, body))
            reply = await raw.reply()
            assert (reply.status, reply.body["code"]) == (408, "too_slow")
            assert "--receive-timeout-s" in reply.body["message"]
            assert await raw.rest() == b""
            await dripping
        await until(broker, published=0)


async def test_body_that_nobody_reads_is_not_waited_for_either(start) -> None:
    async with start(receive_timeout_s=1) as broker, raw_to(broker.port) as raw:
        await raw.send(request("/nothing", b"x", "Content-Length: 100000"))
        assert (await raw.reply()).status == 404
        assert await raw.rest() == b""


async def test_body_that_is_slow_but_comes_is_taken(start) -> None:
    async with start(receive_timeout_s=60) as broker, raw_to(broker.port) as raw:
        data = message("a", "x" * 200_000)
        for at in range(0, len(data), 20_000):
            await raw.send(data[at : at + 20_000])
            await asyncio.sleep(0.02)
        assert (await raw.reply()).status == 202


async def test_reply_that_nobody_takes_is_cut_off_and_its_message_comes_again(start) -> None:
    async with start(receive_timeout_s=2) as broker:
        await broker.client.publish([OutgoingMessage(id="whole", payload=b"x" * 30_000_000)])
        async with raw_to(broker.port) as raw:
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await raw.send(request("/consume"))
            await until(broker, in_flight=1)
            await until(broker, in_flight=0, ready=1)
        (delivery,) = await broker.client.consume(1)
        assert (delivery.attempts, len(delivery.payload)) == (2, 30_000_000)


@pytest.mark.parametrize("leave", ["FIN", "FIN of half", "RST"])
async def test_consumers_that_vanish_while_they_wait_hold_and_lose_nothing(broker, leave) -> None:
    raws = [await Raw.to(broker.port) for _ in range(20)]
    for raw in raws:
        await raw.send(request("/consume"))
    await until(broker, waiting_consumers=20)
    for raw in raws:
        if leave == "RST":
            raw.vanish()
        elif leave == "FIN":
            raw.writer.close()
        else:
            raw.writer.write_eof()
    await until(broker, waiting_consumers=0)
    await broker.publish("a")
    (delivery,) = await broker.client.consume(1, None, 5.0)
    assert (delivery.id, delivery.attempts) == ("a", 1)
    for raw in raws:
        raw.writer.transport.abort()


@pytest.mark.parametrize("cut", [1, 30, 100, 100_000])
async def test_publisher_that_vanishes_half_way_publishes_nothing(broker, cut) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(request("/publish", LONG)[:cut])
        raw.vanish()
    async with raw_to(broker.port) as raw:
        await raw.send(request("/publish", LONG)[:cut])
    await broker.publish("after")
    assert (await broker.client.stats())["published"] == 1


async def test_clients_that_vanish_at_any_moment_of_a_delivery_lose_no_message(broker) -> None:
    for n in range(60):
        raw = await Raw.to(broker.port)
        await raw.send(request("/consume"))
        publishing = asyncio.create_task(broker.publish(f"m{n}"))
        for _ in range(n % 12):
            await asyncio.sleep(0)
        raw.vanish() if n % 2 else raw.writer.close()
        await publishing
    await until(broker, waiting_consumers=0)
    stats = await broker.client.stats()
    assert stats["published"] == 60 == stats["ready"] + stats["in_flight"]


async def test_peer_whose_machine_is_gone_is_found_out(broker) -> None:
    if not SOCKETS.exists():
        pytest.skip("this system does not list its sockets")
    async with raw_to(broker.port) as raw:
        await raw.send(request("/consume"))
        await until(broker, waiting_consumers=1)
        port = raw.writer.get_extra_info("sockname")[1]
        ours, theirs = f":{broker.port:04X}", f":{port:04X}"
        rows = [line.split() for line in SOCKETS.read_text().splitlines()]
        (timer,) = [row[5] for row in rows if row[1].endswith(ours) and row[2].endswith(theirs)]
    kind, ticks = timer.split(":")
    assert kind == "02"  # the system will probe the peer,
    assert int(ticks, 16) <= 60 * 100  # a minute from now at most
