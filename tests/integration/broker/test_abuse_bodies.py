"""Requests that are wrong, too large or broken: refused with a reason, and the broker goes on."""

import asyncio
import logging
import zlib

import msgspec
import pytest

from gputel.mq.client import OutgoingMessage
from tests.helpers.raw_http import Raw, message, raw_to, request

MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b'{"payload":', "truncated"),
        (b'{"payload":"x"} x', "trailing"),
        (b'"text"', "Expected"),
        (b"null", "Expected"),
        (b"{}", "payload"),
        (b'{"id":"1"}', "payload"),
        (b'{"id":1,"payload":""}', "$.id"),
        (b'{"id":"' + b"x" * 10_000 + b'","payload":""}', "$.id"),
        (b'{"id":"a\\u0000b","payload":""}', "U+0000"),
        (b'{"key":7,"payload":""}', "$.key"),
        (b'{"payload":"x","metadata":[]}', "$.metadata"),
        (b'{"payload":"x","metadata":"m"}', "$.metadata"),
        (b'{"payload":"x","metadata":{"a":1e999}}', "out of range"),
        (b'{"payload":"x","metadata":{"a":' + b"9" * 40 + b"}}", "metadata"),
        (b'{"payload":"x","metadata":{"a":"' + b"x" * 70_000 + b'"}}', "$.metadata"),
        (b'{"payload":"x","metadata":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", "nested too deep"),
        (b'{"payload":' + b"[" * 500_000 + b"]" * 500_000 + b"}", "nested too deep"),
        (b'{"payload":"x","encoding":"rot13"}', "$.encoding"),
        (b'{"payload":"not base64!","encoding":"base64"}', "$.payload"),
        (b'{"payload":{},"encoding":"base64"}', "$.payload"),
        (b'{"payload":"x","priority":1}', "priority"),
        (b'[{"payload":"x"},{"id":"2"}]', "$[1]"),
        (b'{"payload":"\xff"}', "utf-8"),
        (b'{"payload":"\\ud800"}', ""),
        (b'{"id":"\\ud800","payload":""}', ""),
    ],
)
async def test_wrong_publish_in_json_is_400_and_names_what_is_wrong(broker, body, named) -> None:
    status, reply = await broker.post("/publish", body)
    assert (status, reply["code"]) == (400, "bad_request")
    assert named.lower() in reply["message"].lower()
    assert (await broker.client.stats())["published"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x81",
        b"\x81\xa7payload\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        msgspec.msgpack.encode({"payload": "text, not bytes"}),
        msgspec.msgpack.encode({"payload": b"", "id": 3}),
        msgspec.msgpack.encode({"payload": b"", "metadata": {1: 2}}),
        msgspec.msgpack.encode({"payload": b"", "metadata": {"e": msgspec.msgpack.Ext(5, b"")}}),
        msgspec.msgpack.encode({"payload": b"", "metadata": {"e": {(1, 2): 3}}}),
        b"\x82\xa7payload\xc4\x00\xa2id\xa2\xff\xfe",
        b"\x91" * 3000,
        b"\x82\xa7payload\xc4\x00\xa8metadata" + b"\x81\xa1a" * 100_000 + b"\xc0",
    ],
)
async def test_wrong_publish_in_msgpack_is_400(broker, body) -> None:
    status, reply = await broker.post("/publish", body, **MSGPACK)
    assert (status, reply["code"]) == (400, "bad_request")
    assert (await broker.client.stats())["published"] == 0


@pytest.mark.parametrize(
    "query",
    [
        *(f"max={value}" for value in ("0", "-1", "1e3", "1.5", "", "abc", "10001", "9" * 5000)),
        *(f"max_bytes={value}" for value in ("0", "-5", "9" * 40)),
        *(f"wait_s={value}" for value in ("-1", "nan", "inf", "1e999", "1_0", "", "3601", "x")),
        *(f"visibility_timeout_s={value}" for value in ("0", "-1", "0.01", "1e9", "nan")),
        "maximum=3",
    ],
)
async def test_wrong_argument_of_consume_is_400_and_named(broker, query) -> None:
    await broker.publish("a")
    status, reply = await broker.post(f"/consume?{query}")
    assert (status, reply["code"]) == (400, "bad_request")
    assert query.split("=")[0] in reply["message"]
    assert (await broker.client.stats())["ready"] == 1


@pytest.mark.parametrize(
    "query",
    [
        *(f"wait_s={value}" for value in ("-1", "nan", "inf", "1e999", "", "3601", "%D9%A1")),
        *(f"queue={value}" for value in ("", "a/b", "a%00", "a%0d%0a", "%2e%2f", "q" * 129)),
        "max=1",
    ],
)
async def test_wrong_argument_of_publish_is_400_and_named(broker, query) -> None:
    status, reply = await broker.post(f"/publish?{query}", {"payload": ""})
    assert (status, reply["code"]) == (400, "bad_request")
    assert query.split("=")[0] in reply["message"]
    assert (await broker.client.stats())["published"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/consume", {"max": 3}),
        ("/ack", {}),
        ("/ack", {"id": 1}),
        ("/ack", {"id": "a", "lease": 5}),
        ("/ack", [{"id": "a"}] * 10_001),
        ("/nack", {"id": "a", "delay_s": -1}),
        ("/nack", {"id": "a", "delay_s": 1e12}),
        ("/nack", {"id": "a", "dead": "yes"}),
        ("/extend", {"id": "a", "visibility_timeout_s": 0}),
        ("/extend", {"id": "a", "visibility_timeout_s": "30"}),
        ("/dead-letters/replay", {"id": "a", "all": True}),
        ("/dead-letters/purge", {"all": False}),
        ("/dead-letters/purge", []),
        ("/ack?id=a", {"id": "a"}),
        *((path, {"id": ""}) for path in ("/ack", "/nack", "/extend", "/held")),
        *((path, {"id": "x" * 10_000}) for path in ("/ack", "/nack", "/extend", "/held")),
        *((f"/dead-letters/{act}", {"id": "x" * 10_000}) for act in ("replay", "purge")),
    ],
)
async def test_wrong_body_is_400(broker, path, body) -> None:
    await broker.publish("a")
    status, reply = await broker.post(path, body)
    assert (status, reply["code"]) == (400, "bad_request")
    assert (await broker.client.stats())["ready"] == 1


LARGE = 5_000_000
CHUNKED = "Transfer-Encoding: chunked"


async def test_body_over_the_limit_is_413_whether_or_not_its_length_is_told(start) -> None:
    async def pieces():
        for _ in range(64):
            yield b"x" * 1024

    async with start(message_max_bytes=10_000) as broker:
        for data in (b"x" * 10_001, pieces()):
            async with broker.http.post(broker.url + "/publish", data=data) as reply:
                assert reply.status == 413
                assert (await reply.json())["code"] == "payload_too_large"
        assert (await broker.post("/publish", {"payload": "x" * 9_900}))[0] == 202


async def test_body_that_says_it_is_too_large_is_refused_before_it_comes(start) -> None:
    async with start(message_max_bytes=10_000) as broker, raw_to(broker.port) as raw:
        await raw.send(request("/publish", b"", "Content-Length: 9999999999"))
        reply = await raw.reply()
        assert (reply.status, reply.body["code"]) == (413, "payload_too_large")


async def test_body_that_grows_without_an_end_is_refused_once_it_is_too_large(start) -> None:
    async with start(message_max_bytes=100_000, receive_timeout_s=0.5) as broker:
        async with raw_to(broker.port) as raw:
            await raw.send(request("/publish", b"", CHUNKED))
            flood = asyncio.create_task(_flood(raw))
            reply = await raw.reply()
            assert (reply.status, reply.body["code"]) == (413, "payload_too_large")
            await raw.rest()
            await flood
        await broker.publish("after")


async def test_body_that_unpacks_to_more_than_the_limit_is_refused(start) -> None:
    async with start(message_max_bytes=1_000_000) as broker, raw_to(broker.port) as raw:
        bomb = zlib.compress(b'{"payload":"' + b"x" * 50_000_000 + b'"}')
        assert len(bomb) < 1_000_000
        await raw.send(request("/publish", bomb, "Content-Encoding: deflate"))
        assert (await raw.reply()).status == 413


async def test_packed_body_is_unpacked(broker) -> None:
    async with raw_to(broker.port) as raw:
        packed = zlib.compress(b'{"id":"a","payload":"' + b"x" * 300_000 + b'"}')
        await raw.send(request("/publish", packed, "Content-Encoding: deflate"))
        assert (await raw.reply()).body == {"id": "a", "state": "accepted"}


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (CHUNKED, b"zz\r\n"),
        (CHUNKED, b"5\r\nabcdefgh\r\n0\r\n\r\n"),
        (CHUNKED, b"-5\r\nabcde\r\n0\r\n\r\n"),
        (CHUNKED, b"fffffffffffffffff\r\nab"),
        (CHUNKED, b"5\nabcde\n0\n\n"),
        (CHUNKED, b"5;" + b"x" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n"),
        ("Content-Encoding: deflate", b"this is not packed"),
        ("Content-Encoding: gzip", zlib.compress(b'{"payload":""}')),
    ],
)
async def test_body_that_is_not_framed_or_packed_as_it_says_is_refused(
    start, field, body, caplog
) -> None:
    caplog.set_level(logging.INFO)
    async with start(receive_timeout_s=15) as broker:
        async with raw_to(broker.port) as raw:
            if field == CHUNKED:
                await raw.send(request("/publish", b"", field))
                await asyncio.sleep(0.01)
                await raw.send(body)
            else:
                await raw.send(request("/publish", body, field))
            reply = await raw.reply()
        assert (await broker.client.stats())["published"] == 0
    assert (reply.status, reply.body["code"]) == (400, "bad_request")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("size", [LARGE, 2_000_000])
async def test_bodies_beyond_what_may_be_held_wait_their_turn_and_small_ones_do_not(
    start, size
) -> None:
    async with start(requests_max_bytes=size * 8 // 5) as broker:
        whole = request("/publish", b'{"id":"%d","payload":"' + b"x" * size + b'"}')
        async with raw_to(broker.port) as holder:
            await holder.send(whole.replace(b"%d", b"01")[:-1])
            await asyncio.sleep(0.05)
            raws = [await Raw.to(broker.port) for _ in range(5)]
            sending = [
                asyncio.create_task(raw.send(whole.replace(b"%d", b"1%d" % n)))
                for n, raw in enumerate(raws)
            ]
            await asyncio.sleep(0.2)
            await broker.publish("small")
            assert (await broker.client.stats())["published"] == 1
            await holder.send(b"}")
            assert (await holder.reply()).status == 202
            for raw in raws:
                assert (await raw.reply()).status == 202
                raw.writer.transport.abort()
            await asyncio.gather(*sending)
        assert (await broker.client.stats())["published"] == 7


async def test_body_that_finds_no_room_in_time_is_503_and_room_comes_back(start) -> None:
    async with start(requests_max_bytes=LARGE, receive_timeout_s=2) as broker:
        whole = message("a", "x" * 3 * LARGE)
        async with raw_to(broker.port) as holder, raw_to(broker.port) as other:
            await holder.send(whole[:LARGE])
            sending = asyncio.create_task(other.send(whole[: LARGE // 2]))
            replying = asyncio.create_task(other.reply())
            at = LARGE
            while not replying.done() and at < len(whole) - 400_000:
                await holder.send(whole[at : at + 400_000])
                at += 400_000
                await asyncio.sleep(0.15)
            reply = await replying
            await sending
            assert (reply.status, reply.body["code"]) == (503, "busy")
            assert reply.fields["retry-after"] == "1"
            assert "--requests-max-bytes" in reply.body["message"]
        await broker.client.publish([OutgoingMessage(id="b", payload=b"x" * LARGE)])


@pytest.mark.parametrize("size", [LARGE, 2_000_000])
async def test_clients_that_leave_while_they_wait_for_room_give_up_their_place(start, size) -> None:
    async with start(requests_max_bytes=size) as broker:
        whole = message("a", "x" * size)
        for _ in range(3):
            raws = [await Raw.to(broker.port) for _ in range(10)]
            for n, raw in enumerate(raws):
                await raw.send(whole[: size * 3 // 5 if n == 0 else 1000])
            await asyncio.sleep(0.02)
            for raw in raws:
                raw.vanish()
        await broker.client.publish([OutgoingMessage(id="b", payload=b"x" * size)])
        assert (await broker.client.stats())["published"] == 1


async def _flood(raw: Raw) -> None:
    while not raw.reader.at_eof() and not raw.writer.transport.is_closing():
        await raw.send(b"2800\r\n" + b"x" * 0x2800 + b"\r\n")
        await asyncio.sleep(0.001)


async def test_unknown_path_and_wrong_method_are_errors_of_the_same_shape(broker) -> None:
    status, reply = await broker.get("/nothing")
    assert (status, reply["code"]) == (404, "not_found")
    status, reply = await broker.get("/consume")
    assert (status, reply["code"]) == (405, "method_not_allowed")


async def test_lists_of_nothing_are_answered_with_nothing(broker) -> None:
    assert await broker.post("/publish", []) == (202, [])
    assert await broker.post("/ack", []) == (200, [])


async def test_message_that_json_cannot_show_whole_is_still_delivered(broker) -> None:
    body = msgspec.msgpack.encode({"payload": b"\xff", "metadata": {"raw": b"\xff\x00"}})
    assert (await broker.post("/publish", body, **MSGPACK))[0] == 202
    status, delivery = await broker.post("/consume")
    assert (status, delivery["metadata"]) == (200, {"raw": "/wA="})


async def test_single_forms_exist_in_msgpack_too(broker) -> None:
    body = msgspec.msgpack.encode({"id": "a", "payload": b"\x00\xff"})
    assert await broker.post("/publish", body, **MSGPACK) == (202, {"id": "a", "state": "accepted"})
    status, delivery = await broker.post("/consume", Accept="application/msgpack")
    assert (status, delivery["payload"]) == (200, b"\x00\xff")
    assert (await broker.post("/ack", {"id": "a", "lease": delivery["lease"]}))[0] == 200
