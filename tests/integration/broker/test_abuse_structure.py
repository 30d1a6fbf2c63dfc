"""Bodies whose bytes are few and whose objects would be many, or nested too deep for a decoder."""

import asyncio
import gzip
import json
import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from gputel.broker.requests import metadata
from gputel.errors import BadRequest
from gputel.mq.client import OutgoingMessage
from tests.helpers.raw_http import RawReply, raw_to, request
from tests.integration.broker.conftest import Broker, Start, until
from tests.integration.broker.test_queue_command import gputel_queue

MSGPACK = {"Content-Type": "application/msgpack"}
DEEP = 988  # levels that a thread could decode, and a task of the event loop could not
MIB = 1024 * 1024


async def answered(broker: Broker, path: str, body: bytes, *fields: str) -> RawReply:
    """The reply to a large body."""
    async with raw_to(broker.port) as raw:
        sending = asyncio.create_task(raw.send(request(path, body, *fields)))
        reply = await raw.reply()
    await sending
    return reply


@pytest.mark.parametrize("padding", [0, 300_000])
@pytest.mark.parametrize("levels", [33, 500, DEEP, 5_000])
async def test_deep_metadata_is_refused_whether_or_not_a_thread_decodes_it(
    broker, levels, padding
) -> None:
    text = b'{"payload":"' + b"x" * padding + b'","metadata":{"a":'
    text += b"[" * levels + b"]" * levels + b"}}"
    packed = msgspec.msgpack.encode({"payload": b"x" * padding, "metadata": 0})[:-1]
    packed += b"\x81\xa1a" + b"\x91" * levels + b"\xc0"
    for body, headers in ((text, {}), (packed, MSGPACK)):
        status, reply = await broker.post("/publish", body, **headers)
        assert (status, reply["code"]) == (400, "bad_request")
        assert "nested too deep" in reply["message"]
    assert (await broker.client.stats())["published"] == 0


async def test_deep_payload_of_json_is_a_text_or_refused(broker) -> None:
    for levels in range(940, 1000, 3):
        body = b'{"payload":' + b"[" * levels + b"]" * levels + b"}"
        status, _ = await broker.post("/publish", body)
        assert status in (202, 400)
    while (await broker.client.stats())["ready"]:
        (delivery,) = await broker.client.consume(1)
        assert delivery.payload.startswith(b"[[[[")


async def test_metadata_of_the_most_levels_reaches_every_consumer(broker) -> None:
    value: object = 1
    for _ in range(31):
        value = [value]
    for id_, padding in (("short", 0), ("long", 300_000)):
        message = {"id": id_, "payload": "x" * padding, "metadata": {"a": value}}
        assert (await broker.post("/publish", message))[0] == 202
    (peeked, _) = await broker.client.peek()
    assert peeked.metadata == {"a": value}
    code, out, _ = await gputel_queue(broker, "peek", "--max", "1")
    assert (code, json.loads(out)["metadata"]) == (0, {"a": value})
    (delivery,) = await broker.client.consume(1)
    assert delivery.metadata == {"a": value}
    assert (await broker.post("/consume"))[1]["metadata"] == {"a": value}


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
async def test_millions_of_empty_lists_are_refused(broker, coding) -> None:
    pack = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[coding]
    count = 8 * MIB
    packed = b"\x82\xa7payload\xc4\x00\xa8metadata\x81\xa1a\xdd" + struct.pack(">I", count)
    text = b'{"payload":"","metadata":{"a":[' + b"[]," * (count // 3) + b"[]]}}"
    for body, kind in ((packed + b"\x90" * count, "msgpack"), (text, "json")):
        fields = [f"Content-Type: application/{kind}"]
        fields += [f"Content-Encoding: {coding}"] if coding != "identity" else []
        reply = await answered(broker, "/publish", pack(body), *fields)  # type: ignore[operator]
        assert (reply.status, reply.body["code"]) == (400, "bad_request")
        assert "65536 bytes" in reply.body["message"]


@pytest.mark.parametrize(
    ("path", "item"),
    [
        ("/publish", b'{"payload":1}'),
        ("/ack", b'{"id":"a"}'),
        ("/nack", b'{"id":"a"}'),
        ("/extend", b'{"id":"a"}'),
        ("/held", b'{"id":"a"}'),
        ("/consume", b'{"id":"a"}'),
        ("/dead-letters/purge", b'"a"'),
        ("/dead-letters/replay", b'"a"'),
    ],
)
async def test_lists_of_a_million_items_are_refused(broker, path, item) -> None:
    wrap = {"/consume": b'{"ack":[%b]}', "/dead-letters/purge": b'{"ids":[%b]}'}
    wrap["/dead-letters/replay"] = wrap["/dead-letters/purge"]
    body = wrap.get(path, b"[%b]") % b",".join([item] * 1_000_000)
    reply = await answered(broker, path, body)
    assert (reply.status, reply.body["code"]) == (400, "bad_request")
    assert "10000" in reply.body["message"]


@pytest.mark.parametrize("path", ["/ack", "/nack", "/extend", "/held", "/consume", "/admin/drain"])
async def test_only_a_publish_may_have_a_very_large_body(broker, path) -> None:
    reply = await answered(broker, path, b'{"id":"' + b"x" * 17 * MIB + b'"}')
    assert (reply.status, reply.body["code"]) == (413, "payload_too_large")


async def test_a_consume_that_waits_keeps_no_room_for_its_acks(start: Start) -> None:
    async with start(requests_max_bytes=3 * MIB) as broker:
        acks = [{"id": f"{n:0500}"} for n in range(1_700)]
        consuming = [asyncio.create_task(broker.post("/consume", {"ack": acks})) for _ in range(3)]
        await until(broker, waiting_consumers=3)
        await broker.client.publish([OutgoingMessage(id="a", payload=b"x" * 2 * MIB)])
        for task in consuming:
            task.cancel()
        await asyncio.gather(*consuming, return_exceptions=True)


async def test_what_an_earlier_version_kept_is_shown_and_ends_nobody(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        with monkeypatch.context() as earlier:
            earlier.setattr(metadata, "packed", lambda raw, _: bytes(raw))
            packed = b"\x83\xa2id\xa4deep\xa7payload\xc4\x00\xa8metadata\x81\xa1a"
            packed += b"\x91" * 900 + b"\xc0"
            assert (await broker.post("/publish", packed, **MSGPACK))[0] == 202
        await broker.publish("sound", metadata={"row": 1})
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        deliveries = await broker.client.consume(10)
        assert [(d.id, d.metadata) for d in deliveries] == [("sound", {"row": 1})]
        _, listed = await broker.get("/dead-letters")
        (letter,) = listed["dead_letters"]
        assert (letter["id"], letter["metadata"]) == ("deep", None)
        assert "bounds" in letter["reason"]
        assert (await broker.get("/dead-letters/deep"))[1]["metadata"] is None
        code, out, _ = await gputel_queue(broker, "dead-letters", "show", "deep")
        assert (code, json.loads(out)["metadata"]) == (0, None)
        status, reply = await broker.post("/dead-letters/replay", {"id": "deep"})
        assert (status, reply["code"]) == (400, "bad_request")
        assert await broker.post("/dead-letters/purge", {"all": True}) == (200, {"purged": 1})
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        assert (await broker.get("/stats"))[1]["dead"] == 0


async def test_a_send_that_the_broker_refuses_does_not_take_others_with_it(broker) -> None:
    value: object = 1
    for _ in range(60):
        value = [value]
    results = await asyncio.gather(
        *(broker.client.send(b"x", id=f"{n}") for n in range(20)),
        broker.client.send(b"x", id="deep", metadata={"a": value}),
        return_exceptions=True,
    )
    assert isinstance(results.pop(), BadRequest)
    assert [result.state for result in results] == ["accepted"] * 20
    assert (await broker.client.stats())["ready"] == 20


async def test_messages_with_much_metadata_are_shown_whatever_they_hold(broker) -> None:
    entries = {str(n): [n] for n in range(2_000)}
    await broker.client.publish(
        [OutgoingMessage(id=f"{n}", payload=b"\xff", metadata=entries) for n in range(30)]
    )
    status, shown = await broker.get("/peek?max=30")
    assert (status, [m["metadata"] for m in shown]) == (200, [entries] * 30)
    deliveries = await broker.client.consume(30)
    await broker.client.nack([(d.id, d.lease) for d in deliveries], dead=True)
    status, listed = await broker.get("/dead-letters?limit=30")
    assert [m["metadata"] for m in listed["dead_letters"]] == [entries] * 30
