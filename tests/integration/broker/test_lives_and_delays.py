"""``delay_s`` and ``ttl_s`` of a publish, on the wire."""

import asyncio

import pytest

from gputel.mq.client import OutgoingMessage


async def test_message_published_with_a_delay_comes_when_it_is_over(broker, clock) -> None:
    await broker.publish("a", delay_s=600)
    stats = await broker.client.stats()
    assert (stats["ready"], stats["delayed"]) == (0, 1)
    assert await broker.client.consume(1) == []
    clock.pass_(600)
    (delivery,) = await broker.client.consume(1)
    assert delivery.id == "a"


async def test_consumer_that_waits_gets_a_delayed_message_by_itself(broker) -> None:
    await broker.publish("a", delay_s=0.2)
    (delivery,) = await broker.client.consume(1, None, 60.0)
    assert delivery.id == "a"


async def test_message_expires_and_makes_room_for_a_publisher_that_waits(start) -> None:
    async with start(queue_max_messages=1) as broker:
        await broker.client.publish([OutgoingMessage(id="a", payload=b"", ttl_s=0.1)])
        async with asyncio.timeout(60):
            await broker.publish("b")
        stats = await broker.client.stats()
        assert (stats["expired"], stats["ready"], stats["lease_timeouts"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "field", [{"ttl_s": 0}, {"ttl_s": -1}, {"ttl_s": "1"}, {"ttl_s": 1e9}, {"delay_s": -0.1}]
)
async def test_wrong_life_or_delay_is_refused(broker, field) -> None:
    status, reply = await broker.post("/publish", {"payload": "", **field})
    assert status == 400
    assert next(iter(field)) in reply["message"]
