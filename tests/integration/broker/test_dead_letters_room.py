"""Dead letters, however many, do not stop those who publish; and the broker tells of them."""

import asyncio
import logging
from pathlib import Path

import pytest

from tests.helpers.waiting import eventually
from tests.integration.broker.conftest import Broker, Start, until

POISON = [f"p{n}" for n in range(5)]


async def kill(broker: Broker, *ids: str, queue: str = "default", payload: str = "x") -> None:
    """Publish messages and make each a dead letter."""
    for id_ in ids:
        body = {"id": id_, "payload": payload}
        assert (await broker.post(f"/publish?queue={queue}", body))[0] == 202
        await broker.post(f"/consume?queue={queue}")
        assert (await broker.post(f"/nack?queue={queue}", {"id": id_, "dead": True}))[0] == 200


async def dead(broker: Broker, queue: str = "default") -> list[str]:
    _, reply = await broker.get(f"/dead-letters?queue={queue}")
    return [letter["id"] for letter in reply["dead_letters"]]


async def test_poison_that_fills_the_queue_keeps_no_good_message_out(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with start(queue_max_messages=5, publish_wait_s=0) as broker:
        await kill(broker, *POISON)
        assert await broker.get("/readyz") == (
            200,
            {
                "status": "ready",
                "notes": {
                    "dead letters": "queue default has 5 dead letters, and dropped 0 for new "
                    "messages: see `gputel queue dead-letters`, replay or purge them"
                },
            },
        )
        await broker.publish("good-1", "good-2")
        assert await dead(broker) == ["p2", "p3", "p4"]
        assert "has 3 dead letters, and dropped 2" in str((await broker.get("/readyz"))[1])
        async with broker.http.get(broker.url + "/metrics") as reply:
            text = await reply.text()
        assert 'gputel_broker_dead_letters_dropped_total{queue="default"} 2.0' in text
        assert 'gputel_broker_dead_letter_bytes{queue="default"}' in text
        assert [delivery.id for delivery in await broker.client.consume(9)] == ["good-1", "good-2"]
        await broker.post("/dead-letters/purge", {"all": True})
        assert (await broker.get("/readyz"))[1] == {"status": "ready"}
    told = [
        record.message for record in caplog.records if "dead letters were dropped" in record.msg
    ]
    assert len(told) == 1
    assert told[0].startswith("queue default: 1 of the oldest dead letters")


async def test_a_publish_that_waits_gets_the_room_of_what_dies(start: Start) -> None:
    async with start(queue_max_messages=2) as broker:
        await broker.publish("a", "b")
        waiting = asyncio.create_task(broker.publish("c"))
        await until(broker, waiting_publishers=1)
        await broker.client.consume(2)
        await broker.post("/nack", [{"id": "a", "dead": True}, {"id": "b", "dead": True}])
        await waiting
        assert await dead(broker) == ["b"]


async def test_dead_letters_of_one_queue_give_way_to_messages_of_another(start: Start) -> None:
    async with start(queue_max_bytes=100_000, broker_max_bytes=100_000, publish_wait_s=0) as broker:
        await kill(broker, *POISON[:3], queue="bad", payload="x" * 30_000)
        await broker.publish("small")
        for n in range(2):
            body = {"id": str(n), "payload": "x" * 30_000}
            assert (await broker.post("/publish?queue=good", body))[0] == 202
        assert await dead(broker, "bad") == ["p2"]
        status, refusal = await broker.post("/publish?queue=good", {"payload": "x" * 30_000})
        assert (status, refusal["code"]) == (503, "queue_full")


async def test_with_a_journal_what_was_dropped_stays_away_and_the_rest_comes_back(
    start: Start, tmp_path: Path
) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0, dead_letters_share=1) as broker:
        await kill(broker, *POISON)
    async with start(journal=tmp_path, drain_deadline_s=0, queue_max_messages=4) as broker:
        assert await dead(broker) == POISON  # all of them, though they are over today's bound
        await broker.publish("good")
        assert await dead(broker) == ["p2", "p3", "p4"]
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        assert await dead(broker) == ["p2", "p3", "p4"]
        assert [delivery.id for delivery in await broker.client.consume(9)] == ["good"]


async def test_a_dead_letter_on_its_own_is_nothing_to_tell_of(broker: Broker) -> None:
    await kill(broker, "a")

    async def ready() -> bool:
        return await broker.get("/readyz") == (200, {"status": "ready"})

    await eventually(ready)
