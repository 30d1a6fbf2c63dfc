"""POST /admin/drain: nothing more comes in, and consumers empty the queue."""

import asyncio


async def test_draining_refuses_publishes_and_tells_what_is_left(broker) -> None:
    await broker.publish("a", "b", "c")
    await broker.post("/consume")
    status, left = await broker.post("/admin/drain")
    assert status == 200
    assert left == {"drained": False, "ready": 2, "delayed": 0, "in_flight": 1, "dead": 0}
    status, reply = await broker.post("/publish", {"payload": "x"})
    assert (status, reply["code"]) == (410, "queue_closed")
    status, reply = await broker.get("/readyz")
    assert status == 503
    assert "draining" in reply["problems"]["broker"]


async def test_draining_lets_consumers_empty_the_queue_and_then_tells_them(broker) -> None:
    await broker.publish("a")
    await broker.post("/admin/drain")
    _, message = await broker.post("/consume")
    acks = {"ack": [{"id": "a", "lease": message["lease"]}, {"id": "?", "lease": "?"}]}
    status, reply = await broker.post("/consume", acks)
    assert (status, reply["code"]) == (410, "queue_closed")
    assert [ack["ok"] for ack in reply["acks"]] == [True, True]
    _, left = await broker.post("/admin/drain")
    assert left == {"drained": True, "ready": 0, "delayed": 0, "in_flight": 0, "dead": 0}


async def test_draining_sends_waiting_publishers_and_consumers_away(start) -> None:
    async with start(queue_max_messages=1) as broker:
        await broker.publish("a")
        publisher = asyncio.create_task(broker.post("/publish", {"id": "b", "payload": ""}))
        while (await broker.client.stats())["waiting_publishers"] == 0:
            await asyncio.sleep(0.01)
        await broker.post("/admin/drain")
        assert (await publisher)[0] == 410
        await broker.post("/consume")
        consumer = asyncio.create_task(broker.post("/consume"))
        while (await broker.client.stats())["waiting_consumers"] == 0:
            await asyncio.sleep(0.01)
        await broker.post("/ack", {"id": "a"})
        assert (await consumer)[0] == 410


async def test_drain_with_a_body_drains_nothing(broker) -> None:
    status, _ = await broker.post("/admin/drain", {"queue": "x"})
    assert status == 400
    await broker.publish("a")
