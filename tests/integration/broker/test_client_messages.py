"""Messages one after another: leases that last, acks that ride with the next consume."""

import asyncio
import contextlib
from contextlib import aclosing

import pytest

from gputel.errors import BrokerUnavailable, QueueClosed
from gputel.mq.client import QueueClient, acks
from tests.helpers.wire import wire_to_port
from tests.integration.broker.conftest import Broker, Clock, until


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


async def test_a_handler_that_fails_is_told_of_and_does_not_end_the_loop(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.publish("bad", "good")
    done = []
    async with aclosing(broker.client.messages(max_attempts=1)) as messages:
        async for message in messages:
            async with message:
                if message.id == "bad":
                    raise ValueError("no")
                done.append(message.id)
            if done:
                break
    await until(broker, acked=1, dead=1)
    letter = await broker.client.dead_letter("bad")
    assert (letter.reason, letter.attempts, letter.payload) == ("ValueError: no", 1, b"bad")
    (record,) = [each for each in caplog.records if each.name == "gputel.mq"]
    assert "handler of message 'bad' failed at attempt 1; it is a dead letter" in record.message
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


async def test_a_message_whose_handler_fails_comes_again_later_each_time(
    broker: Broker, clock: Clock
) -> None:
    await broker.publish("a")
    attempts = []
    async with aclosing(
        broker.client.messages(retry_s=100, retry_most_s=350, max_attempts=5)
    ) as messages:
        for longest_s in (100, 200, 350, 350):
            async with await anext(messages) as message:
                attempts.append(message.attempts)
                raise ValueError("not yet")
            await until(broker, delayed=1)
            clock.pass_(longest_s / 2 - 10)  # a pause is cut at random, by half at most
            assert await broker.client.consume(1) == []
            clock.pass_(longest_s / 2 + 10)
        async with await anext(messages) as message:
            attempts.append(message.attempts)
            raise ValueError("never")
        await until(broker, dead=1)
    assert attempts == [1, 2, 3, 4, 5]


async def test_a_handler_that_is_cancelled_gives_its_message_back_at_once(broker: Broker) -> None:
    await broker.publish("a")
    begun = asyncio.Event()

    async def work() -> None:
        async with aclosing(broker.client.messages()) as messages:
            async for message in messages:
                async with message:
                    begun.set()
                    await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(broker, ready=1, delayed=0, nacked=1)


async def test_a_message_settled_in_its_block_is_not_settled_again(broker: Broker) -> None:
    await broker.publish("a", "b")
    async with aclosing(broker.client.messages()) as messages:
        async with await anext(messages) as message:
            await message.nack(dead=True, reason="mine")
            raise ValueError("after it")
        async with await anext(messages) as message:
            await message.ack()
    await until(broker, acked=1, dead=1, nacked=1)
    assert (await broker.client.dead_letter("a")).reason == "mine"


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
