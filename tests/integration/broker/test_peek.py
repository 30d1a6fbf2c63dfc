"""``GET /peek``: what would be delivered next, read without taking it."""

import msgspec
import pytest


async def peek(broker, arguments: str = "") -> list[dict]:
    status, messages = await broker.get("/peek" + arguments)
    assert status == 200
    return messages


async def test_messages_are_shown_in_their_order_and_stay_as_they_are(broker) -> None:
    await broker.publish("a", "b", "c", key="k", metadata={"row": 1})
    before = (await broker.get("/stats"))[1]
    first, second = await peek(broker, "?max=2")
    assert first.pop("age_s") >= 0
    assert first.pop("enqueued")
    assert first == {
        "id": "a",
        "key": "k",
        "metadata": {"row": 1},
        "state": "ready",
        "attempts": 0,
        "payload_bytes": 1,
        "payload": "a",
        "encoding": "text",
    }
    assert second["id"] == "b"
    assert [message["id"] for message in await peek(broker)] == ["a", "b", "c"]
    after = (await broker.get("/stats"))[1]
    assert {**after, "oldest_ready_s": 0} == {**before, "oldest_ready_s": 0}
    _, taken = await broker.post("/consume?max=9")
    assert [(m["id"], m["attempts"]) for m in taken] == [("a", 1), ("b", 1), ("c", 1)]
    assert await peek(broker) == []


async def test_message_that_came_back_is_shown_in_its_old_place_with_its_attempts(broker) -> None:
    await broker.publish("a", "b")
    await broker.post("/consume")
    await broker.post("/nack", {"id": "a"})
    assert [(m["id"], m["attempts"]) for m in await peek(broker)] == [("a", 1), ("b", 0)]


async def test_large_payload_is_left_out_unless_asked_for(broker) -> None:
    body = [{"id": "small", "payload": "s"}, {"id": "large", "payload": "x" * 100_000}]
    await broker.post("/publish", body)
    shown = {m["id"]: m for m in await peek(broker)}
    assert shown["small"]["payload"] == "s"
    assert shown["large"]["payload"] is None
    assert shown["large"]["payload_bytes"] == 100_000
    shown = {m["id"]: m for m in await peek(broker, "?max_payload_bytes=100000")}
    assert shown["large"]["payload"] == "x" * 100_000
    shown = {m["id"]: m for m in await peek(broker, "?max_payload_bytes=0")}
    assert shown["small"]["payload"] is None


async def test_payloads_of_one_reply_are_bounded_together(start) -> None:
    async with start(message_max_bytes=1000) as broker:
        for id_ in "abc":
            await broker.post("/publish", {"id": id_, "payload": "x" * 400})
        payloads = [m["payload"] for m in await peek(broker)]
        assert payloads == ["x" * 400, "x" * 400, None]


async def test_bytes_are_base64_in_json_and_bytes_in_messagepack(broker) -> None:
    await broker.post("/publish", {"id": "a", "payload": "/wD+", "encoding": "base64"})
    (shown,) = await peek(broker)
    assert (shown["payload"], shown["encoding"]) == ("/wD+", "base64")
    accept = {"Accept": "application/msgpack"}
    async with broker.http.get(broker.url + "/peek", headers=accept) as reply:
        (shown,) = msgspec.msgpack.decode(await reply.read())
    assert shown["payload"] == b"\xff\x00\xfe"
    assert "encoding" not in shown


async def test_another_queue_can_be_peeked_but_is_not_made(broker) -> None:
    await broker.post("/publish?queue=jobs", {"id": "j", "payload": ""})
    assert [m["id"] for m in await peek(broker, "?queue=jobs")] == ["j"]
    status, refusal = await broker.get("/peek?queue=none")
    assert (status, refusal["code"]) == (404, "unknown_queue")


@pytest.mark.parametrize(
    "arguments", ["max=0", "max=1001", "max=x", "max_payload_bytes=-1", "wait_s=1"]
)
async def test_argument_that_is_wrong_is_named(broker, arguments: str) -> None:
    status, refusal = await broker.get("/peek?" + arguments)
    assert (status, refusal["code"]) == (400, "bad_request")
    assert arguments.split("=")[0] in refusal["message"]
