"""The client and named queues, and refusals of the broker as the errors that they are."""

import asyncio
from contextlib import aclosing

import pytest

from gputel.errors import BadRequest, QueueNotEmpty, TooManyQueues, UnknownQueue
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.mq.connect import connect


async def test_every_call_is_for_the_queue_that_it_names(broker) -> None:
    client = broker.client
    await broker.publish("a")
    await client.send(b"x", id="a", queue="jobs")
    (result,) = await client.publish([OutgoingMessage(id="a", payload=b"x")], queue="jobs")
    assert result.state == "duplicate"
    (first,) = await client.consume(5, queue="jobs")
    item = (first.id, first.lease)
    assert [r.ok for r in await client.ack([item])] == [False]
    assert [r.ok for r in await client.extend([item], 60, queue="jobs")] == [True]
    assert await client.held(["a"], queue="jobs") == ["in_flight"]
    assert await client.held(["a"]) == ["ready"]
    assert [r.ok for r in await client.nack([item], queue="jobs")] == [True]
    (again,) = await client.consume(5, queue="jobs")
    consumed = await client.ack_and_consume([(again.id, again.lease)], 5, queue="jobs")
    assert ([r.ok for r in consumed.acks], consumed.messages) == ([True], [])
    assert (await client.stats(queue="jobs"))["acked"] == 1
    assert (await client.stats())["acked"] == 0


async def test_messages_of_a_named_queue_are_settled_there(broker) -> None:
    client = broker.client
    for n in range(3):
        await client.send(b"x", id=str(n), queue="jobs")
    async with aclosing(client.messages(queue="jobs")) as messages:
        async with await anext(messages):
            pass
        assert await (await anext(messages)).ack()
        assert await (await anext(messages)).nack(dead=True)
    stats = await client.stats(queue="jobs")
    assert (stats["acked"], stats["dead"], stats["in_flight"]) == (2, 1, 0)


async def test_consume_of_a_named_queue_that_is_cancelled_leaves_nothing_leased(start) -> None:
    async with start(max_attempts=1000) as broker:
        for n in range(20):
            await cancel_consume(broker.client, n)
        async with asyncio.timeout(60):
            while (await broker.client.stats(queue="jobs"))["ready"] < 20:
                await asyncio.sleep(0.01)


async def cancel_consume(client: QueueClient, n: int) -> None:
    task = asyncio.create_task(client.consume(5, None, 5.0, queue="jobs"))
    await asyncio.sleep(n % 5 / 2000)
    sending = asyncio.create_task(client.send(b"x", id=str(n), queue="jobs"))
    await asyncio.sleep(n % 7 / 3000)
    task.cancel()
    (got,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(got, list):
        await client.nack([(d.id, d.lease) for d in got], queue="jobs")
    await sending


async def test_queue_that_nobody_declared_is_unknown_where_they_must_be(start) -> None:
    async with start(queue_create="declared") as broker:
        with pytest.raises(UnknownQueue, match="jobs"):
            await broker.client.send(b"x", queue="jobs")
        with pytest.raises(UnknownQueue):
            await anext(broker.client.messages(queue="jobs"))


async def test_one_queue_more_than_there_may_be_is_refused(start) -> None:
    async with start(max_queues=2) as broker:
        await broker.client.send(b"x", queue="first")
        with pytest.raises(TooManyQueues):
            await broker.client.send(b"x", queue="second")


@pytest.mark.parametrize("name", ["", "a b", "a&max=7", "é"])
async def test_name_that_no_queue_can_have_is_refused(broker, name: str) -> None:
    with pytest.raises(BadRequest, match="queue"):
        await broker.client.consume(1, queue=name)


async def test_queue_is_declared_looked_into_and_deleted(broker) -> None:
    client = broker.client
    await client.declare("jobs", ordered_keys=True)
    assert (await client.stats(queue="jobs"))["ordered_keys"] is True
    await client.send(b"\x00\xff", id="a", key="k", metadata={"row": 1}, queue="jobs")
    await client.send(b"x" * 50, id="b", queue="jobs")
    first, second = await client.peek(max_payload_bytes=10, queue="jobs")
    assert (first.id, first.key, first.metadata, first.payload) == (
        "a",
        "k",
        {"row": 1},
        b"\x00\xff",
    )
    assert (second.id, second.payload, second.payload_bytes) == ("b", None, 50)
    assert [message.id for message in await client.peek(1, queue="jobs")] == ["a"]
    assert await client.peek() == []
    with pytest.raises(QueueNotEmpty):
        await client.delete("jobs")
    await client.declare("jobs")
    assert (await client.stats(queue="jobs"))["ordered_keys"] is True
    with pytest.raises(QueueNotEmpty):
        await client.declare("jobs", ordered_keys=False)
    assert await client.delete("jobs", force=True) == 2
    with pytest.raises(UnknownQueue):
        await client.delete("jobs")
    with pytest.raises(BadRequest):
        await client.declare("no name")


async def test_queue_is_declared_looked_into_and_deleted_at_several_brokers(start) -> None:
    async with start() as one, start() as two, connect([one.url, two.url]) as client:
        await client.declare("jobs", ordered_keys=True)
        for broker in (one, two):
            assert (await broker.client.stats(queue="jobs"))["ordered_keys"] is True
        for n in range(20):
            await client.send(b"x", id=str(n), queue="jobs")
        assert {message.id for message in await client.peek(100, queue="jobs")} == set(
            map(str, range(20))
        )
        assert len(await client.peek(5, queue="jobs")) == 5
        with pytest.raises(QueueNotEmpty):
            await client.delete("jobs")
        assert await client.delete("jobs", force=True) == 20
        with pytest.raises(UnknownQueue):
            await client.delete("jobs")
        await two.client.declare("half")
        assert await client.delete("half") == 0
