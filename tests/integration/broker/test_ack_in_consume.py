"""Acks that travel with the next consume."""

import asyncio

import msgspec
import pytest

MSGPACK = {"Content-Type": "application/msgpack"}


async def test_acks_are_done_and_the_next_messages_come_in_one_reply(broker) -> None:
    await broker.publish("a", "b")
    _, first = await broker.post("/consume")
    body = {"ack": [{"id": "a", "lease": first["lease"]}]}
    status, reply = await broker.post("/consume?max=10", body)
    assert status == 200
    assert reply["acks"] == [{"id": "a", "ok": True}]
    assert [message["id"] for message in reply["messages"]] == ["b"]
    stats = await broker.client.stats()
    assert (stats["acked"], stats["in_flight"]) == (1, 1)


async def test_the_reply_has_one_shape_without_max_too(broker) -> None:
    _, reply = await broker.post("/consume?wait_s=0", {"ack": []})
    assert reply == {"acks": [], "messages": []}


async def test_messagepack_carries_acks_as_well(broker) -> None:
    await broker.publish("a")
    _, first = await broker.post("/consume")
    body = msgspec.msgpack.encode({"ack": [{"id": "a", "lease": first["lease"]}]})
    _, reply = await broker.post("/consume?wait_s=0", body, **MSGPACK)
    assert reply == {"acks": [{"id": "a", "ok": True}], "messages": []}


async def test_an_ack_that_fails_does_not_keep_the_messages_back(broker) -> None:
    await broker.publish("a", "b")
    await broker.post("/consume")
    acks = [{"id": "a", "lease": "?"}, {"id": "nobody", "lease": "?"}]
    _, reply = await broker.post("/consume?max=1", {"ack": acks})
    assert [(ack["ok"], ack.get("code")) for ack in reply["acks"]] == [
        (False, "stale_lease"),
        (True, None),
    ]
    assert [message["id"] for message in reply["messages"]] == ["b"]


async def test_acks_are_done_before_the_consume_waits(broker) -> None:
    await broker.publish("a")
    _, first = await broker.post("/consume")
    body = {"ack": [{"id": "a", "lease": first["lease"]}]}
    waiting = asyncio.create_task(broker.post("/consume?max=1", body))
    while (await broker.client.stats())["acked"] == 0:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    await broker.publish("b")
    _, reply = await waiting
    assert [message["id"] for message in reply["messages"]] == ["b"]


@pytest.mark.parametrize(
    "body", [b"x", b"{}", b'{"ack":{}}', b'{"ack":[{}]}', b'{"acks":[]}', b'{"ack":[],"x":1}']
)
async def test_a_body_that_is_not_understood_is_refused_whole(broker, body) -> None:
    await broker.publish("a")
    status, reply = await broker.post("/consume?max=1", body)
    assert (status, reply["code"]) == (400, "bad_request")
    assert (await broker.client.stats())["in_flight"] == 0


async def test_nothing_is_acked_when_an_argument_is_wrong(broker) -> None:
    await broker.publish("a")
    await broker.post("/consume")
    status, _ = await broker.post("/consume?max=0", {"ack": [{"id": "a"}]})
    assert status == 400
    assert (await broker.client.stats())["in_flight"] == 1
