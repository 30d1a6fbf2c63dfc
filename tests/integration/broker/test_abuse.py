"""Requests that are wrong, too large or broken: refused with a reason, and the broker goes on."""

import asyncio
import random

import msgspec
import pytest

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
        (b'{"id":"","payload":""}', "$.id"),
        (b'{"id":"' + b"x" * 10_000 + b'","payload":""}', "$.id"),
        (b'{"id":"a\\u0000b","payload":""}', "U+0000"),
        (b'{"key":7,"payload":""}', "$.key"),
        (b'{"payload":"x","metadata":[]}', "$.metadata"),
        (b'{"payload":"x","metadata":"m"}', "$.metadata"),
        (b'{"payload":"x","metadata":{"a":1e999}}', "out of range"),
        (b'{"payload":"x","metadata":{"a":' + b"9" * 40 + b"}}", "metadata"),
        (b'{"payload":"x","metadata":{"a":"' + b"x" * 70_000 + b'"}}', "$.metadata"),
        (b'{"payload":"x","metadata":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", "recursion"),
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
    ],
)
async def test_wrong_body_is_400(broker, path, body) -> None:
    await broker.publish("a")
    status, reply = await broker.post(path, body)
    assert (status, reply["code"]) == (400, "bad_request")
    assert (await broker.client.stats())["ready"] == 1


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


async def test_unknown_path_and_wrong_method_are_errors_of_the_same_shape(broker) -> None:
    status, reply = await broker.get("/nothing")
    assert (status, reply["code"]) == (404, "not_found")
    status, reply = await broker.get("/consume")
    assert (status, reply["code"]) == (405, "method_not_allowed")


async def test_lists_of_nothing_are_answered_with_nothing(broker) -> None:
    assert await broker.post("/publish", []) == (202, [])
    assert await broker.post("/ack", []) == (200, [])


async def test_random_bytes_never_end_the_broker(broker) -> None:
    rng = random.Random(20)
    paths = ["/publish", "/ack", "/nack", "/extend", "/dead-letters/purge", "/consume?wait_s=0"]
    good = msgspec.msgpack.encode([{"payload": b"x", "id": "i", "metadata": {"a": [1, {}]}}])
    for n in range(150):
        body = bytearray(good) if n % 2 else bytearray(rng.randbytes(rng.randrange(200)))
        for _ in range(3):
            if body:
                body[rng.randrange(len(body))] = rng.randrange(256)
        headers = MSGPACK if rng.random() < 0.7 else {}
        status, _ = await broker.post(rng.choice(paths), bytes(body), **headers)
        assert status < 500
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(rng.randbytes(300) + b"\r\n\r\n")
        await asyncio.wait_for(reader.read(100), 5)
        writer.close()
    assert (await broker.get("/healthz"))[0] == 200


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
