"""Queues that clients delete, and declarations that outlive the broker."""

import asyncio
from pathlib import Path

import pytest

from gputel.broker.durable.declarations import FILE, BadDeclarations


async def put(broker, name: str, body: bytes = b"") -> tuple[int, dict]:
    async with broker.http.put(f"{broker.url}/queues/{name}", data=body) as reply:
        return reply.status, await reply.json()


async def delete(broker, name: str) -> tuple[int, dict]:
    async with broker.http.delete(f"{broker.url}/queues/{name}") as reply:
        return reply.status, await reply.json()


async def ordered(broker) -> dict[str, bool]:
    _, reply = await broker.get("/queues")
    return {queue["name"]: queue["ordered_keys"] for queue in reply["queues"]}


async def consumed(broker, queue: str) -> list[str]:
    _, messages = await broker.post(f"/consume?queue={queue}&max=9&wait_s=0")
    return [message["id"] for message in messages]


async def test_empty_queue_is_deleted(broker) -> None:
    await put(broker, "jobs", b'{"ordered_keys":true}')
    assert await delete(broker, "jobs") == (200, {"name": "jobs", "purged": 0})
    assert await ordered(broker) == {"default": False}
    assert (await delete(broker, "jobs"))[0] == 404
    await broker.post("/publish?queue=jobs", {"payload": ""})
    assert await ordered(broker) == {"default": False, "jobs": False}


@pytest.mark.parametrize("state", ["ready", "delayed", "in_flight", "dead"])
async def test_queue_that_holds_messages_is_deleted_only_by_force(broker, state: str) -> None:
    delay_s = 60 if state == "delayed" else 0
    await broker.post("/publish?queue=jobs", {"id": "a", "payload": "", "delay_s": delay_s})
    if state in ("in_flight", "dead"):
        await consumed(broker, "jobs")
    if state == "dead":
        await broker.post("/nack?queue=jobs", {"id": "a", "dead": True})
    status, refusal = await delete(broker, "jobs")
    assert (status, refusal["code"]) == (409, "queue_not_empty")
    assert "force=true" in refusal["message"]
    assert (await broker.get("/stats?queue=jobs"))[1][state] == 1
    assert (await delete(broker, "jobs?force=false"))[0] == 409
    assert await delete(broker, "jobs?force=true") == (200, {"name": "jobs", "purged": 1})
    assert (await broker.post("/ack?queue=jobs", {"id": "a"}))[0] == 200
    assert (await broker.post("/extend?queue=jobs", {"id": "a"}))[0] == 404


async def test_those_who_wait_are_sent_away(start) -> None:
    async with start(queue_max_messages=1) as broker:
        await put(broker, "idle")
        await broker.post("/publish?queue=full", {"payload": ""})
        consumer = asyncio.create_task(broker.post("/consume?queue=idle"))
        publisher = asyncio.create_task(broker.post("/publish?queue=full", {"payload": ""}))
        for queue, waiting in (("idle", "waiting_consumers"), ("full", "waiting_publishers")):
            while not (await broker.get(f"/stats?queue={queue}"))[1][waiting]:
                await asyncio.sleep(0.01)
            assert (await delete(broker, f"{queue}?force=true"))[0] == 200
        for waited in (consumer, publisher):
            status, refusal = await waited
            assert (status, refusal["code"]) == (410, "queue_closed")


async def test_what_cannot_be_deleted_is_told(broker) -> None:
    status, refusal = await delete(broker, "default?force=true")
    assert (status, refusal["code"]) == (400, "bad_request")
    await put(broker, "jobs")
    for argument in ("force=1", "force=", "forced=true"):
        assert (await delete(broker, f"jobs?{argument}"))[0] == 400
    assert (await delete(broker, "a%20b"))[0] == 400
    assert "jobs" in await ordered(broker)


async def test_declared_queues_outlive_the_broker(start, tmp_path: Path) -> None:
    async with start(journal=tmp_path) as broker:
        await put(broker, "orders", b'{"ordered_keys":true}')
        await put(broker, "default", b'{"ordered_keys":true}')
        await put(broker, "plain")
        await put(broker, "gone")
        await delete(broker, "gone")
        await broker.post("/consume?queue=passing&max=1&wait_s=0")
    async with start(journal=tmp_path, queue_create="declared") as broker:
        assert await ordered(broker) == {"default": True, "orders": True, "plain": False}
        await put(broker, "plain", b'{"ordered_keys":true}')
        await delete(broker, "orders")
    async with start(journal=tmp_path) as broker:
        assert await ordered(broker) == {"default": True, "plain": True}


async def test_messages_come_back_in_the_order_of_their_keys(start, tmp_path: Path) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await put(broker, "orders", b'{"ordered_keys":true}')
        messages = [{"id": id_, "key": "k", "payload": ""} for id_ in "ab"]
        await broker.post("/publish?queue=orders", messages)
        assert await consumed(broker, "orders") == ["a"]
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        assert await consumed(broker, "orders") == ["a"]
        await broker.post("/ack?queue=orders", {"id": "a"})
        assert await consumed(broker, "orders") == ["b"]


async def test_messages_of_a_deleted_queue_do_not_come_back(start, tmp_path: Path) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        for queue in ("gone", "stays"):
            messages = [{"id": id_, "payload": ""} for id_ in "abc"]
            await broker.post(f"/publish?queue={queue}", messages)
        await broker.post("/consume?queue=gone")
        assert await delete(broker, "gone?force=true") == (200, {"name": "gone", "purged": 3})
        await broker.post("/publish?queue=gone", {"id": "new", "payload": ""})
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        assert await consumed(broker, "gone") == ["new"]
        assert await consumed(broker, "stays") == ["a", "b", "c"]


async def test_the_setting_goes_before_what_was_declared(start, tmp_path: Path) -> None:
    async with start(journal=tmp_path) as broker:
        await put(broker, "orders", b'{"ordered_keys":true}')
    async with start(journal=tmp_path, queues="orders") as broker:
        assert (await ordered(broker))["orders"] is False


async def test_declaration_that_cannot_be_written_is_told_and_can_be_repeated(
    start, tmp_path: Path
) -> None:
    async with start(journal=tmp_path) as broker:
        in_the_way = tmp_path / "queues.new"
        in_the_way.mkdir()
        status, refusal = await put(broker, "jobs")
        assert (status, refusal["code"]) == (507, "journal_full")
        assert "queues.json" in refusal["message"]
        in_the_way.rmdir()
        assert (await put(broker, "jobs"))[0] == 200
    async with start(journal=tmp_path) as broker:
        assert "jobs" in await ordered(broker)


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":1}', b'{"version":2,"queues":{}}'])
async def test_damaged_file_of_declarations_stops_the_start(
    start, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BadDeclarations, match=FILE):
        async with start(journal=tmp_path):
            pass
