"""A delivery says when its message was published; fields left empty are absent."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gputel.mq.client import OutgoingMessage
from gputel.times import parse
from tests.integration.broker.conftest import Broker, Start

MSGPACK = {"Content-Type": "application/msgpack"}
EMPTY: list[dict[str, Any]] = [
    {"id": ""},
    {"id": None},
    {"id": "", "key": "", "metadata": {}},
    {"id": None, "key": None, "metadata": None, "ttl_s": None},
]


async def test_every_delivery_of_a_message_tells_the_same_moment(broker: Broker) -> None:
    before = datetime.now(UTC)
    await broker.publish("a")
    _, alone = await broker.post("/consume")
    assert alone["enqueued"].endswith("Z")
    assert before <= parse(alone["enqueued"]) <= datetime.now(UTC)
    await broker.post("/nack", {"id": "a"})
    shown = [(await broker.get("/peek"))[1][0]]
    shown += (await broker.post("/consume?max=1"))[1]
    await broker.post("/nack", {"id": "a"})
    shown += (await broker.post("/consume?max=1", **MSGPACK))[1]
    await broker.post("/nack", {"id": "a", "dead": True})
    shown.append((await broker.get("/dead-letters/a"))[1])
    await broker.post("/dead-letters/replay", {"id": "a"})
    shown += (await broker.post("/consume", {"ack": []}))[1]["messages"]
    assert [each["enqueued"] for each in shown] == [alone["enqueued"]] * 5


async def test_a_restart_with_a_journal_keeps_the_moment(start: Start, tmp_path: Path) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("dead", "ready")
        _, (dead, ready) = await broker.post("/consume?max=2&wait_s=1")
        await broker.post("/nack", {"id": "dead", "dead": True})
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.post("/dead-letters/replay", {"id": "dead"})
        deliveries = await broker.client.consume(2)
        moments = {each.id: each.enqueued for each in deliveries}
    assert moments == {each["id"]: each["enqueued"] for each in (dead, ready)}


@pytest.mark.parametrize("empty", EMPTY)
async def test_an_empty_id_key_or_metadata_is_an_absent_one(
    broker: Broker, empty: dict[str, Any]
) -> None:
    status, one = await broker.post("/publish", {"payload": "x", **empty})
    assert (status, one["state"]) == (202, "accepted")
    body = msgspec.msgpack.encode([{"payload": b"x", **empty}] * 2)
    status, two = await broker.post("/publish", body, **MSGPACK)
    assert (status, [each["state"] for each in two]) == (202, ["accepted"] * 2)
    deliveries = await broker.client.consume(3)
    ids = {each.id for each in deliveries}
    assert ids == {one["id"], *(each["id"] for each in two)}
    assert len(ids - {""}) == 3
    assert [(each.key, each.metadata) for each in deliveries] == [("", {})] * 3


async def test_the_client_takes_an_empty_id_for_none(broker: Broker) -> None:
    results = [await broker.client.send(b"x", id="") for _ in range(2)]
    results += await broker.client.publish([OutgoingMessage(id="", payload=b"x")] * 2)
    assert [each.state for each in results] == ["accepted"] * 4
    assert len({each.id for each in results}) == 4
