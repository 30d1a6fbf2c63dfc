"""Dead letters, delays and times to live, through the client of one broker and of several."""

import pytest

from gputel.errors import BadRequest, UnknownMessage
from gputel.mq.client import QueueClient
from gputel.mq.connect import connect
from tests.integration.broker.conftest import Broker, Clock, running, until


async def kill(client: QueueClient, *ids: str, queue: str | None = None) -> None:
    """Publish messages and make each a dead letter."""
    for id_ in ids:
        await client.send(b"x\xff", id=id_, metadata={"row": 1}, queue=queue)
    while deliveries := await client.consume(100, queue=queue):
        items = [(each.id, each.lease) for each in deliveries]
        await client.nack(items, reason="unreadable", dead=True, queue=queue)


async def test_dead_letters_are_listed_shown_replayed_and_purged(broker: Broker) -> None:
    client = broker.client
    await kill(client, "a", "b/?", "c", queue="jobs")
    letters = await client.dead_letters(queue="jobs")
    assert [letter.id for letter in letters] == ["a", "b/?", "c"]
    assert [letter.id for letter in await client.dead_letters(1, 1, queue="jobs")] == ["b/?"]
    letter = await client.dead_letter("b/?", queue="jobs")
    assert (letter.payload, letter.metadata, letter.reason) == (b"x\xff", {"row": 1}, "unreadable")
    assert [failure.attempt for failure in letter.history] == [1]
    assert letter.enqueued.endswith("Z")
    assert letters[0].payload is None
    assert await client.replay(["a", "nobody"], queue="jobs") == 1
    assert [each.id for each in await client.consume(9, queue="jobs")] == ["a"]
    assert await client.purge(["c"], queue="jobs") == 1
    assert await client.purge(all=True, queue="jobs") == 1
    assert await client.dead_letters(queue="jobs") == []
    with pytest.raises(UnknownMessage):
        await client.dead_letter("a", queue="jobs")
    with pytest.raises(UnknownMessage):
        await client.replay(["a"], queue="jobs")
    with pytest.raises(BadRequest):
        await client.purge(queue="jobs")


async def test_dead_letters_of_several_brokers_are_those_of_all() -> None:
    async with running() as one, running() as two, connect([one.url, two.url]) as client:
        ids = [f"m{n}" for n in range(12)]
        await kill(client, *ids)
        held = [len(await each.client.dead_letters()) for each in (one, two)]
        assert all(held)
        letters = await client.dead_letters()
        assert sorted(letter.id for letter in letters) == sorted(ids)
        assert await client.dead_letters(5, 4) == letters[4:9]
        assert (await client.dead_letter("m7")).payload == b"x\xff"
        assert await client.replay(ids[:6]) == 6
        assert await client.purge(["m11"]) == 1
        assert await client.purge(all=True) == 5
        with pytest.raises(UnknownMessage):
            await client.replay(["m11"])


async def test_a_message_is_sent_with_a_delay_and_a_time_to_live(
    broker: Broker, clock: Clock
) -> None:
    await broker.client.send(b"later", id="later", delay_s=100)
    await broker.client.send(b"short", id="short", ttl_s=50)
    await until(broker, delayed=1, ready=1)
    clock.pass_(99)
    assert await broker.client.consume(9) == []
    clock.pass_(2)
    assert [each.id for each in await broker.client.consume(9)] == ["later"]
    await until(broker, expired=1)
