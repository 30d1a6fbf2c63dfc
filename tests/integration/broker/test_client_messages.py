"""Messages one after another: leases that last, acks that ride with the next consume."""

import asyncio
import contextlib
from contextlib import aclosing

import pytest

from gputel.errors import BrokerUnavailable, QueueClosed
from gputel.mq.client import QueueClient, acks
from tests.helpers.wire import wire_to_port
from tests.integration.broker.conftest import until


async def test_lease_lasts_while_a_handler_works(broker, clock, monkeypatch) -> None:
    """It is extended three times within its span; without that it would have ended."""
    extended, extend = asyncio.Event(), broker.client.extend

    async def noting(*arguments, **more):
        results = await extend(*arguments, **more)
        extended.set()
        return results

    monkeypatch.setattr(broker.client, "extend", noting)
    await broker.publish("a")
    async with aclosing(broker.client.messages(visibility_timeout_s=3)) as messages:
        message = await anext(messages)
        for _ in range(3):
            extended.clear()
            await extended.wait()
            clock.pass_(1)
        assert await message.ack()
    await until(broker, acked=1, redelivered=0)


async def test_handler_that_fails_gives_its_message_back_with_the_reason(broker) -> None:
    await broker.publish("a")
    async with aclosing(broker.client.messages()) as messages:
        message = await anext(messages)
        with pytest.raises(ValueError, match="no"):
            async with message:
                raise ValueError("no")
    await until(broker, ready=1, nacked=1)


async def test_messages_end_when_the_broker_stops(start) -> None:
    async with start() as broker:
        client = QueueClient(broker.url)
        await client.__aenter__()

        async def consume() -> int:
            count = 0
            with contextlib.suppress(BrokerUnavailable, QueueClosed):
                async for message in client.messages():
                    await message.ack()
                    count += 1
            return count

        task = asyncio.create_task(consume())
        await broker.publish("a", "b")
        await until(broker, acked=2, waiting_consumers=1)
    assert await asyncio.wait_for(task, 60) == 2
    await client.__aexit__(None, None, None)


async def test_acks_of_handled_messages_ride_with_the_next_consume(broker, monkeypatch) -> None:
    monkeypatch.setattr(acks, "_LINGER_S", 3600)  # so that nothing else carries them
    await broker.publish(*map(str, range(20)))

    async def handle() -> None:
        async for message in broker.client.messages(prefetch=5):
            async with message:
                pass

    task = asyncio.create_task(handle())
    await until(broker, acked=20, waiting_consumers=1)
    task.cancel()


async def test_ack_of_a_handled_message_does_not_wait_for_the_next_one(broker) -> None:
    await broker.publish("a")
    async with aclosing(broker.client.messages()) as messages:
        message = await anext(messages)
        following = asyncio.create_task(anext(messages))
        await until(broker, in_flight=1, waiting_consumers=1)
        async with message:
            pass
        await until(broker, acked=1, waiting_consumers=1)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def test_acks_that_wait_are_sent_when_the_loop_or_the_client_ends(
    broker, monkeypatch
) -> None:
    monkeypatch.setattr(acks, "_LINGER_S", 3600)
    await broker.publish("a", "b")
    async with aclosing(broker.client.messages()) as messages, await anext(messages):
        pass
    await until(broker, acked=1, in_flight=0)
    async with QueueClient(broker.url) as client:
        left_open = client.messages()
        async with await anext(left_open):
            pass
    await until(broker, acked=2)
    await left_open.aclose()


async def test_ack_is_tried_again_while_the_broker_is_away(broker) -> None:
    await broker.publish("a")
    async with (
        wire_to_port(broker.port) as wire,
        QueueClient(wire.url) as client,
        aclosing(client.messages()) as messages,
    ):
        message = await anext(messages)
        await wire.cut()
        async with message:
            pass
        following = asyncio.create_task(anext(messages))
        await wire.mend()
        await until(broker, acked=1, waiting_consumers=1)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
