"""Heads that are wrong, huge or ambiguous: refused in the shape of all errors, then closed."""

import asyncio
import logging

import pytest

from tests.helpers.raw_http import message, raw_to, request

BODY = b'{"id":"smuggled","payload":""}'
CHUNKED = b"1e\r\n" + BODY + b"\r\n0\r\n\r\n"
LENGTH = f"Content-Length: {len(BODY)}"

NO_HTTP = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a line only": b"hello\r\n\r\n",
    "unknown version": b"POST /publish HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "a control character in a value": request("/publish", BODY, "X: a\x01b"),
    "a NUL in a value": request("/publish", BODY, "X: a\x00b"),
    "a blank in a name": request("/publish", BODY, "X y: a"),
    "a blank before the colon": request("/publish", BODY, "Content-Length : 30"),
    "no colon": request("/publish", BODY, "nonsense"),
    "a folded value": request("/publish", BODY, "X: a", " b"),
    "a folded length": request("/publish", BODY, "Content-Length:", " 30"),
    "lines that end with LF": request("/publish", BODY).replace(b"\r\n", b"\n"),
    "lines that end with CR": request("/publish", BODY).replace(b"\r\n", b"\r"),
    "two lengths": request("/publish", BODY, LENGTH, "Content-Length: 0"),
    "the same length twice": request("/publish", BODY, LENGTH, LENGTH),
    "lengths as a list": request("/publish", BODY, "Content-Length: 30, 30"),
    "a negative length": request("/publish", BODY, "Content-Length: -1"),
    "a signed length": request("/publish", BODY, "Content-Length: +30"),
    "a length in hex": request("/publish", BODY, "Content-Length: 0x1e"),
    "a length in words": request("/publish", BODY, "Content-Length: many"),
    "no length": request("/publish", BODY, "Content-Length:"),
    "a length beyond 64 bits": request("/publish", BODY, "Content-Length: " + "9" * 30),
    "length and chunks": request("/publish", CHUNKED, LENGTH, "Transfer-Encoding: chunked"),
    "chunks and length": request("/publish", CHUNKED, "Transfer-Encoding: chunked", LENGTH),
    "chunks named oddly": request("/publish", CHUNKED, "Transfer-Encoding: xchunked"),
    "chunks named twice": request("/publish", CHUNKED, "Transfer-Encoding: chunked, chunked"),
    "chunks that are not last": request("/publish", CHUNKED, "Transfer-Encoding: chunked, x"),
    "a name too long": request("/publish", BODY, "X" * 100_000 + ": a"),
    "a value too long": request("/publish", BODY, "X: " + "a" * 100_000),
    "a target too long": request("/consume?wait_s=" + "0" * 100_000, BODY),
    "too many fields": request("/publish", BODY, *(f"X{n}: a" for n in range(10_000))),
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP.keys())
async def test_what_is_no_plain_http_is_refused_and_nothing_of_it_is_done(
    broker, data, caplog
) -> None:
    await broker.publish("before")
    caplog.set_level(logging.INFO)
    async with raw_to(broker.port) as raw:
        await raw.send(data)
        await raw.send(message("behind"))
        try:
            reply = await raw.reply()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        else:
            assert reply.status == 400
            assert reply.body["code"] == "bad_request"
            assert reply.body["message"]
            assert await raw.rest() == b""
    assert not [record for record in caplog.records if record.exc_info]
    stats = await broker.client.stats()
    assert (stats["published"], stats["ready"]) == (1, 1)


async def test_other_expectation_is_refused_in_the_same_shape(broker) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(request("/publish", BODY, "Expect: a miracle"))
        reply = await raw.reply()
    assert reply.status == 417
    assert reply.body["code"] == "expectation_failed"


async def test_client_that_asks_before_it_sends_is_told_to_go_on(broker) -> None:
    async with raw_to(broker.port) as raw:
        head, body = request("/publish", BODY, "Expect: 100-continue").split(b"\r\n\r\n")
        await raw.send(head + b"\r\n\r\n")
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await raw.send(body)
        assert (await raw.reply()).status == 202


@pytest.mark.parametrize("target", ["*", "http://elsewhere/publish", "//publish", "/%2e%2e/%00"])
async def test_odd_target_is_answered_in_the_shape_of_all_errors(broker, target) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(request(target, b"", method="GET"))
        reply = await raw.reply()
    assert 400 <= reply.status < 500
    assert set(reply.body) == {"code", "message"}


async def test_half_a_million_bytes_of_a_head_are_not_kept(broker) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(b"POST /publish HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(500):
            await raw.send(b"X: " + b"a" * 1000 + b"\r\n")
        assert b" 400 " in (await raw.rest())[:15]
    await broker.publish("after")


async def test_many_requests_in_one_segment_are_answered_in_their_order(broker) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(b"".join(message(str(n)) for n in range(500)))
        assert [(await raw.reply()).body["id"] for n in range(500)] == [str(n) for n in range(500)]
    assert [d.id for d in await broker.client.consume(500)] == [str(n) for n in range(500)]


async def test_requests_in_segments_of_one_byte_are_answered_in_their_order(broker) -> None:
    chunks = b"5\r\n" + BODY[:5] + b"\r\n19;x=y\r\n" + BODY[5:] + b"\r\n0\r\nTrailer: t\r\n\r\n"
    chunked = request("/publish", chunks, "Transfer-Encoding: chunked")
    asks = request("/consume?wait_s=5&max=2")
    async with raw_to(broker.port) as raw:
        for byte in message("a") + chunked + asks:
            await raw.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await raw.reply()).body == {"id": "a", "state": "accepted"}
        assert (await raw.reply()).body == {"id": "smuggled", "state": "accepted"}
        assert [m["id"] for m in (await raw.reply()).body] == ["a", "smuggled"]


async def test_good_requests_before_a_bad_one_are_done_if_they_are_answered(broker) -> None:
    async with raw_to(broker.port) as raw:
        await raw.send(message("a") + message("b") + b"\x00\x01\x02\r\n\r\n" + message("c"))
        got = await raw.rest()
    assert got.count(b" 400 Bad Request\r\n") == 1
    published = (await broker.client.stats())["published"]
    assert published == got.count(b" 202 Accepted\r\n") <= 2
