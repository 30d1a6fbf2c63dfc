"""How a broker stops: at once when nobody needs it, within its deadline otherwise."""

import asyncio
import time

import aiohttp

from gputel.broker.server import serve
from gputel.config.settings import BrokerSettings
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.web.health import Health

PLENTY_S = 250.0


async def seconds_to_stop(prepare, *, drain_deadline_s: float = PLENTY_S) -> float:
    """Start a broker, prepare it, and time its end; ``prepare`` gives what stays open meanwhile."""
    async with serve(
        BrokerSettings(broker_port=0), "127.0.0.1", Health(), drain_deadline_s=drain_deadline_s
    ) as listener:
        leftovers = await prepare(listener.url)
        started = time.monotonic()
    elapsed = time.monotonic() - started
    for leftover in leftovers:
        await leftover.__aexit__(None, None, None)
    return elapsed


async def client_of(url: str) -> QueueClient:
    return await QueueClient(url).__aenter__()


async def test_empty_queue_stops_at_once_though_a_consumer_is_connected() -> None:
    async def prepare(url: str) -> list[QueueClient]:
        client = await client_of(url)
        assert await client.consume(1) == []
        return [client]

    assert await seconds_to_stop(prepare) < PLENTY_S


async def test_full_queue_stops_at_once_when_no_consumer_is_connected() -> None:
    async def prepare(url: str) -> list[QueueClient]:
        producer = await client_of(url)
        await producer.publish([OutgoingMessage(id="a", payload=b"")])
        async with QueueClient(url) as consumer:
            assert len(await consumer.consume(1)) == 1
        return [producer]

    assert await seconds_to_stop(prepare) < PLENTY_S


async def test_consumer_that_never_acks_cannot_hold_a_broker_beyond_its_deadline() -> None:
    async def prepare(url: str) -> list[QueueClient]:
        client = await client_of(url)
        await client.publish([OutgoingMessage(id="a", payload=b"")])
        await client.consume(1)
        return [client]

    assert 0.3 <= await seconds_to_stop(prepare, drain_deadline_s=0.3) < PLENTY_S


async def test_waiting_consumer_is_answered_410_when_the_broker_stops() -> None:
    session = aiohttp.ClientSession()
    waiters: list[asyncio.Task[tuple[int, str]]] = []

    async def ask(url: str) -> tuple[int, str]:
        async with session.post(url + "/consume") as reply:
            return reply.status, (await reply.json())["code"]

    async def prepare(url: str) -> list[QueueClient]:
        waiters.append(asyncio.create_task(ask(url)))
        async with QueueClient(url) as client:
            while (await client.stats())["waiting_consumers"] == 0:
                await asyncio.sleep(0.01)
        return []

    assert await seconds_to_stop(prepare) < PLENTY_S
    assert await waiters[0] == (410, "queue_closed")
    await session.close()


async def test_draining_broker_is_not_ready_and_refuses_waiting_publishers() -> None:
    health = Health()
    settings = BrokerSettings(broker_port=0, queue_max_messages=1)
    consumer = None
    async with serve(settings, "127.0.0.1", health, drain_deadline_s=5.0) as listener:
        consumer = await client_of(listener.url)
        assert await health.problems() == {}
        await consumer.publish([OutgoingMessage(id="a", payload=b"")])
        (delivery,) = await consumer.consume(1)

        async def publish_and_wait() -> str:
            body = {"id": "b", "payload": ""}
            async with (
                aiohttp.ClientSession() as session,
                session.post(listener.url + "/publish", json=body) as reply,
            ):
                return (await reply.json())["code"]

        publisher = asyncio.create_task(publish_and_wait())
        while (await consumer.stats())["waiting_publishers"] == 0:
            await asyncio.sleep(0.01)

        async def finish() -> dict[str, str]:
            assert await publisher == "queue_closed"
            problems = await health.problems()
            await consumer.ack([(delivery.id, delivery.lease)])
            return problems

        finisher = asyncio.create_task(finish())
    assert "broker" in await finisher
    await consumer.__aexit__(None, None, None)
