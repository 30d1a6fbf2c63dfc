"""Messages of several brokers as one stream, while brokers come, go and come back."""

import asyncio
import contextlib
from collections import Counter
from contextlib import aclosing

import pytest

from gputel.errors import BrokerUnavailable, ConfigError, UnknownQueue
from gputel.mq.client import QueueClient
from gputel.mq.connect import connect
from gputel.mq.fleet import members
from gputel.mq.wire import addresses
from tests.integration.broker.conftest import running
from tests.integration.broker.test_fleet import fleet_of, outgoing


@pytest.fixture
def handled() -> asyncio.Queue[str]:
    return asyncio.Queue()


async def handle(client: QueueClient, handled: asyncio.Queue[str], **options) -> None:
    async with aclosing(client.messages(**options)) as messages:
        async for message in messages:
            async with message:
                handled.put_nowait(message.id)


async def take(handled: asyncio.Queue[str], count: int) -> Counter[str]:
    async with asyncio.timeout(60):
        return Counter([await handled.get() for _ in range(count)])


async def test_messages_of_all_brokers_come_once_and_are_acked(handled) -> None:
    async with fleet_of(3) as fleet:
        task = asyncio.create_task(handle(fleet.client, handled, prefetch=5))
        ids = [str(n) for n in range(300)]
        await fleet.client.publish(outgoing(*ids))
        assert await take(handled, 300) == Counter(ids)
        for broker in fleet.brokers:
            await broker.post("/admin/drain")
        await asyncio.wait_for(task, 60)
        stats = [await broker.client.stats() for broker in fleet.brokers]
        assert sum(each["acked"] for each in stats) == 300


async def test_brokers_are_served_in_turn_whatever_the_others_hold(handled) -> None:
    async with fleet_of(2) as fleet:
        await fleet.brokers[0].publish(*(f"many {n}" for n in range(50)))
        await fleet.brokers[1].publish("few 0", "few 1", "few 2")
        async with aclosing(fleet.client.messages(prefetch=10)) as messages:
            got = []
            while "few 2" not in got:
                message = await anext(messages)
                got.append(message.id)
                await message.ack()
        assert len(got) < 25


async def test_loop_that_is_left_gives_back_what_it_had_fetched() -> None:
    async with fleet_of(2) as fleet:
        await fleet.client.publish(outgoing(*map(str, range(40))))
        async with aclosing(fleet.client.messages(prefetch=5)) as messages, await anext(messages):
            pass
        stats = await fleet.client.stats()
        assert (stats["acked"], stats["ready"], stats["in_flight"]) == (1, 39, 0)


async def test_broker_that_comes_back_is_drunk_from_again(handled, unused_tcp_port: int) -> None:
    async with running() as first:
        client = connect(f"{first.url},http://127.0.0.1:{unused_tcp_port}")
        async with client:
            task = asyncio.create_task(handle(client, handled))
            for n in range(2):
                await first.publish(f"first {n}")
                assert await take(handled, 1) == Counter([f"first {n}"])
                async with running(broker_port=unused_tcp_port) as second:
                    await second.publish(f"second {n}")
                    assert await take(handled, 1) == Counter([f"second {n}"])
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_brokers_are_found_behind_a_name() -> None:
    async with (
        running() as broker,
        connect(f"dns+http://localhost:{broker.port}") as client,
    ):
        await client.publish(outgoing("a", "b"))
        assert {d.id for d in await client.consume(5, None, 5)} == {"a", "b"}
        assert (await broker.client.stats())["in_flight"] == 2


async def test_name_that_is_not_found_is_a_broker_that_is_away() -> None:
    async with connect("dns+http://no-such-broker.invalid:8081") as client:
        with pytest.raises(BrokerUnavailable):
            await client.publish(outgoing("a"))
        with pytest.raises(BrokerUnavailable):
            await client.consume(1, None, 5)


async def test_name_that_no_host_can_have_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="must look like"):
        async with connect(f"dns+http://{'x' * 70}:8081"):
            pass


async def test_set_behind_a_name_is_followed(handled, monkeypatch) -> None:
    """What the name resolves to is the machine's affair: the answer is given here."""
    there: list[str] = []
    looks = 0

    async def resolve(address: str) -> list[str]:
        nonlocal looks
        looks += 1
        assert address == "dns+http://brokers:8081"
        return there

    async def look_again() -> None:
        """Wait for a look that began from now on, and until what it found is known."""
        before = looks
        while looks < before + 2:
            await asyncio.sleep(0.01)

    monkeypatch.setattr(addresses, "resolve", resolve)
    monkeypatch.setattr(members, "_LOOK_S", 0.05)
    async with running() as first, running() as second, contextlib.AsyncExitStack() as stack:
        there.append(first.url)
        client = await stack.enter_async_context(connect("dns+http://brokers:8081"))
        task = asyncio.create_task(handle(client, handled))
        await client.publish(outgoing("a"))
        assert await take(handled, 1) == Counter("a")
        there.append(second.url)
        await second.publish("b")
        assert await take(handled, 1) == Counter("b")
        there.remove(first.url)  # it still answers: it is emptied, and gets nothing new
        await first.publish("c")
        assert await take(handled, 1) == Counter("c")
        await look_again()
        before = (await first.client.stats())["published"]
        await client.publish(outgoing(*map(str, range(30))))
        assert await take(handled, 30) == Counter(map(str, range(30)))
        assert (await first.client.stats())["published"] == before
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_error_that_does_not_pass_ends_the_loop() -> None:
    async with fleet_of(2, queue_create="declared") as fleet:
        with pytest.raises(UnknownQueue):
            await anext(fleet.client.messages(queue="jobs"))
