"""The client as a library: sends that share requests, messages with leases that last."""

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from gputel.broker.server import serve
from gputel.config.settings import BrokerSettings
from gputel.errors import BrokerUnavailable, PayloadTooLarge, QueueFull
from gputel.mq.client import ConsumeEnded, QueueClient
from gputel.web.health import Health
from tests.integration.broker.conftest import running, until

DOCUMENT = Path(__file__).parents[3] / "docs" / "client.md"


async def test_examples_of_the_document_run(broker) -> None:
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        exec(example, names)
    await names["produce"](broker.url)
    await broker.publish("a", "b", "c")
    assert await names["consume"](broker.url, 2) == [b"hello", b"a"]
    await until(broker, ready=2, in_flight=0)
    await broker.client.ack([(d.id, d.lease) for d in await broker.client.consume(2)])
    assert await names["move"](broker.url) == 100
    await broker.publish(*map(str, range(150)))
    assert await names["echo"](broker.url, 150) == 50
    await until(broker, ready=0, in_flight=0)
    await broker.post("/publish?queue=jobs", {"id": "job", "payload": ""})
    worker = asyncio.create_task(names["work"](broker.url))
    await until(broker, queue="jobs", acked=1, waiting_consumers=4)
    os.kill(os.getpid(), signal.SIGTERM)
    await worker
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    await broker.post("/publish?queue=jobs", [{"id": id_, "payload": id_} for id_ in ("", "full")])
    await broker.client.nack(
        [(d.id, d.lease) for d in await broker.client.consume(9, queue="jobs")],
        dead=True,
        queue="jobs",
    )
    assert await names["review"](broker.url) == 1
    async with running() as other:
        assert await names["one_of_each"]([broker.url, other.url]) == [b"x"] * 20


async def test_sends_side_by_side_share_their_requests_and_keep_their_order(
    broker, monkeypatch
) -> None:
    lists: list[int] = []
    publish = broker.client.publish

    async def counting(messages: Any, **more: Any) -> Any:
        lists.append(len(messages))
        return await publish(messages, **more)

    monkeypatch.setattr(broker.client, "publish", counting)
    results = await asyncio.gather(*(broker.client.send(b"x", id=str(n)) for n in range(1000)))
    assert [r.id for r in results] == [str(n) for n in range(1000)]
    assert len(lists) < 10
    got = [d.id for d in await broker.client.consume(1000)]
    assert sorted(got, key=int) == [str(n) for n in range(1000)]


async def test_send_of_an_id_that_is_held_is_a_duplicate(broker) -> None:
    states = [(await broker.client.send(b"x", id="a")).state for _ in range(2)]
    assert states == ["accepted", "duplicate"]


async def test_one_message_that_is_too_large_does_not_take_others_with_it(start) -> None:
    async with start(queue_max_bytes=5000) as broker:
        sends = [broker.client.send(b"x" * size, id=str(size)) for size in (10, 6000, 20)]
        small, large, other = await asyncio.gather(*sends, return_exceptions=True)
        assert isinstance(large, PayloadTooLarge)
        assert (small.state, other.state) == ("accepted", "accepted")


async def test_send_into_a_full_queue_waits_for_room_and_then_gives_up(start) -> None:
    async with (
        start(queue_max_messages=1, publish_wait_s=0.05) as broker,
        QueueClient(broker.url, patience_s=0.2) as impatient,
    ):
        await broker.publish("a")
        with pytest.raises(QueueFull):
            await impatient.send(b"x")
        task = asyncio.create_task(broker.client.send(b"x", id="b"))
        await asyncio.sleep(0.1)
        (delivery,) = await broker.client.consume(1)
        await broker.client.ack([(delivery.id, delivery.lease)])
        assert (await task).state == "accepted"


async def test_send_outlives_a_broker_that_is_away_for_a_while(unused_tcp_port: int) -> None:
    settings = BrokerSettings(broker_port=unused_tcp_port)
    async with QueueClient(f"http://127.0.0.1:{unused_tcp_port}") as client:
        task = asyncio.create_task(client.send(b"x", id="a"))
        await asyncio.sleep(0.1)
        async with serve(settings, "127.0.0.1", Health(), drain_deadline_s=0):
            assert (await task).state == "accepted"
    async with QueueClient(f"http://127.0.0.1:{unused_tcp_port}", patience_s=0) as client:
        with pytest.raises(BrokerUnavailable):
            await client.send(b"x")


async def test_acks_go_with_the_next_consume_and_each_has_a_result(broker) -> None:
    await broker.publish("a", "b", "c")
    first, second = await broker.client.consume(2)
    items = [(first.id, first.lease), (second.id, "no lease")]
    consumed = await broker.client.ack_and_consume(items, 5)
    assert [(r.id, r.ok, r.code) for r in consumed.acks] == [
        ("a", True, None),
        ("b", False, "stale_lease"),
    ]
    assert [message.id for message in consumed.messages] == ["c"]
    again = await broker.client.ack_and_consume(items[:1], 5)
    assert [r.ok for r in again.acks] == [True]
    assert again.messages == []


async def test_acks_with_the_last_consume_are_told_of(broker) -> None:
    await broker.publish("a")
    (message,) = await broker.client.consume(1)
    await broker.post("/admin/drain")
    with pytest.raises(ConsumeEnded) as ended:
        await broker.client.ack_and_consume([(message.id, message.lease)], 5, wait_s=5)
    assert [(r.id, r.ok) for r in ended.value.acks] == [("a", True)]


async def test_ack_and_consume_cancelled_at_any_moment_leaves_no_message_leased(start) -> None:
    async with start(max_attempts=1000) as broker:
        for n in range(60):
            await broker.publish(f"before {n}")
            acks = [(d.id, d.lease) for d in await broker.client.consume(100)]
            task = asyncio.create_task(broker.client.ack_and_consume(acks, 5, None, 5.0))
            await asyncio.sleep(n % 5 / 2000)
            publishing = asyncio.create_task(broker.client.send(b"x", id=str(n)))
            await asyncio.sleep(n % 7 / 3000)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                consumed = await task
                await broker.client.nack([(d.id, d.lease) for d in consumed.messages])
            await publishing
            await broker.client.ack(acks)
        async with asyncio.timeout(60):
            await until(broker, published=120, in_flight=0, waiting_consumers=0)
        stats = await broker.client.stats()
        assert stats["ready"] + stats["acked"] == 120


async def test_consumes_that_are_cancelled_at_any_moment_leave_no_message_leased(start) -> None:
    async with start(max_attempts=1000) as broker:
        await cancel_consumes(broker)
        async with asyncio.timeout(60):
            await until(broker, ready=60, in_flight=0, waiting_consumers=0)


async def cancel_consumes(broker) -> None:
    for n in range(60):
        task = asyncio.create_task(broker.client.consume(5, None, 5.0))
        await asyncio.sleep(n % 5 / 2000)
        publishing = asyncio.create_task(broker.client.send(b"x", id=str(n)))
        await asyncio.sleep(n % 7 / 3000)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await broker.client.nack([(d.id, d.lease) for d in await task])
        await publishing
