"""All queues of a broker together: one bound on bytes, also of what waits and what is read."""

import asyncio
import gc

import pytest

from gputel.errors import Busy, PayloadTooLarge, QueueFull
from gputel.mq.client import OutgoingMessage
from tests.helpers.raw_http import Raw, raw_to, request
from tests.integration.broker.conftest import Start, until

MIB = 1024 * 1024


def large(id_: str, size: int = 1_000) -> OutgoingMessage:
    return OutgoingMessage(id=id_, payload=b"x" * (size - 512 - len(id_) - 1))


async def test_many_queues_hold_no_more_than_two_full_ones(start: Start) -> None:
    async with start(queue_max_bytes=10_000) as broker:
        accepted = 0
        for n in range(12):
            try:
                queue = f"q{n}"
                await broker.client.publish([large("a", 4_000), large("b", 4_000)], 0, queue=queue)
                accepted += 1
            except QueueFull as error:
                refusal = error
        assert accepted == 2
        assert "--broker-max-bytes" in refusal.message
        _, stats = await broker.get("/stats")
        assert stats["broker"] == {"bytes": 20_000, "max_bytes": 20_000, "waiting_bytes": 0}


async def test_one_full_queue_leaves_room_for_others(start: Start) -> None:
    async with start(queue_max_bytes=10_000) as broker:
        with pytest.raises(QueueFull) as caught:
            await broker.client.publish([large(f"{n}") for n in range(20)], 0, queue="full")
        assert "--broker-max-bytes" not in caught.value.message
        assert len(await broker.client.publish([large("a")], 0)) == 1


async def test_room_is_given_on_to_a_publish_that_waits_in_another_queue(start: Start) -> None:
    async with start(queue_max_bytes=10_000, broker_max_bytes=10_000) as broker:
        await broker.client.publish([large("a", 9_000)], queue="one")
        waiting = asyncio.create_task(broker.client.publish([large("b", 9_000)], 20, queue="two"))
        await asyncio.sleep(0)
        while not (await broker.client.stats(queue="two"))["waiting_publishers"]:
            await asyncio.sleep(0.01)
        (delivery,) = await broker.client.consume(1, queue="one")
        await broker.client.ack([(delivery.id, delivery.lease)], queue="one")
        assert (await waiting)[0].state == "accepted"
        _, stats = await broker.get("/stats?queue=two")
        assert stats["broker"]["bytes"] == stats["bytes"] == 9_000


@pytest.mark.parametrize("leaving", ["purge", "expire", "delete", "ack"])
async def test_whatever_leaves_a_queue_leaves_the_total(start: Start, leaving: str) -> None:
    async with start(queue_max_bytes=10_000, broker_max_bytes=10_000) as broker:
        ttl_s = 0.05 if leaving == "expire" else None
        message = OutgoingMessage(id="a", payload=b"x" * 8_000, ttl_s=ttl_s)
        await broker.client.publish([message], queue="one")
        if leaving == "purge":
            (delivery,) = await broker.client.consume(1, queue="one")
            item = [(delivery.id, delivery.lease)]
            await broker.client.nack(item, reason="no", dead=True, queue="one")
            await broker.post("/dead-letters/purge?queue=one", {"all": True})
        elif leaving == "delete":
            await broker.client.delete("one", force=True)
        elif leaving == "ack":
            (delivery,) = await broker.client.consume(1, queue="one")
            await broker.client.ack([(delivery.id, delivery.lease)], queue="one")
        await broker.client.publish([large("b", 9_000)], 20, queue="two")
        assert (await broker.get("/stats"))[1]["broker"]["bytes"] == 9_000


async def test_message_over_the_total_is_too_large(start: Start) -> None:
    async with start(broker_max_bytes=5_000) as broker:
        with pytest.raises(PayloadTooLarge, match="broker-max-bytes"):
            await broker.client.publish([large("a", 6_000)])


async def test_total_counts_what_a_journal_brings_back(start: Start, tmp_path) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        for queue in ("one", "two"):
            await broker.client.publish([large("a", 6_000)], queue=queue)
    async with start(journal=tmp_path, drain_deadline_s=0, broker_max_bytes=10_000) as broker:
        assert (await broker.get("/stats"))[1]["broker"]["bytes"] == 12_000
        with pytest.raises(QueueFull):
            await broker.client.publish([large("b")], 0)
        (delivery,) = await broker.client.consume(1, queue="one")
        await broker.client.ack([(delivery.id, delivery.lease)], queue="one")
        await broker.client.publish([large("b")], 0)


async def test_reasons_of_failures_count_and_do_not_pass_the_bound(start: Start) -> None:
    async with start(queue_max_bytes=100_000, broker_max_bytes=100_000) as broker:
        messages = [OutgoingMessage(id=f"{n:03}", payload=b"") for n in range(150)]
        await broker.client.publish(messages)
        for _ in range(10):
            deliveries = await broker.client.consume(150)
            items = [(delivery.id, delivery.lease) for delivery in deliveries]
            await broker.client.nack(items, reason="\N{GRINNING FACE}" * 256)
        stats = await broker.client.stats()
        assert stats["ready"] == 150
        assert stats["bytes"] < 100_000 + 150 * 400


async def test_publishes_of_all_queues_that_wait_hold_a_bounded_part(start: Start) -> None:
    async with start(
        queue_max_bytes=3 * MIB, broker_max_bytes=3 * MIB, requests_max_bytes=4 * MIB
    ) as broker:
        await broker.client.publish([large("full", 3 * MIB - 100_000)])
        waiting = [
            asyncio.create_task(broker.client.publish([large("a", MIB)], 25, queue=f"q{n}"))
            for n in range(2)
        ]
        while (await broker.get("/stats"))[1]["broker"]["waiting_bytes"] < 2 * MIB:
            await asyncio.sleep(0.01)
        with pytest.raises(QueueFull):
            await broker.client.publish([large("a", MIB)], 25, queue="q9")
        (delivery,) = await broker.client.consume(1)
        await broker.client.ack([(delivery.id, delivery.lease)])
        await asyncio.gather(*waiting)


async def test_refused_messages_are_let_go_at_once(start: Start) -> None:
    async with start(queue_max_bytes=2 * MIB) as broker:
        await broker.client.publish([large("full", 2 * MIB)])
        gc.collect()
        gc.disable()
        try:
            body = b'{"id":"refused once","payload":"' + b"x" * 900_000 + b'"}'
            for _ in range(3):
                status, _ = await broker.post("/publish?wait_s=0", body)
                assert status == 503
            kept = [each for each in gc.get_objects() if type(each).__name__ == "Message"]
        finally:
            gc.enable()
        assert all(getattr(message, "id", "") != "refused once" for message in kept)


async def readers(broker, path: str, count: int) -> list[Raw]:
    """Connections that ask and do not read."""
    raws = [await Raw.to(broker.port) for _ in range(count)]
    method = "POST" if path.startswith("/consume") else "GET"
    for raw in raws:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(request(path, b"", method=method))
    return raws


@pytest.mark.parametrize("path", ["/peek?max_payload_bytes=99999999", "/dead-letters/big"])
async def test_large_replies_that_nobody_reads_do_not_add_up(start: Start, path: str) -> None:
    async with start(requests_max_bytes=40 * MIB) as broker:
        await broker.client.publish([OutgoingMessage(id="big", payload=b"x" * 30 * MIB)])
        if path.startswith("/dead"):
            (delivery,) = await broker.client.consume(1)
            await broker.client.nack([(delivery.id, delivery.lease)], dead=True)
        (raw,) = await readers(broker, path, 1)
        while (await broker.get(path))[0] != 503:
            await asyncio.sleep(0.01)
        async with raw_to(broker.port) as other:
            await other.send(request(path, b"", method="GET"))
            reply = await other.reply()
        assert (reply.status, reply.body["code"]) == (503, "busy")
        raw.vanish()
        while (await broker.get(path))[0] != 200:
            await asyncio.sleep(0.01)


async def test_deliveries_that_nobody_reads_do_not_add_up_and_lose_nothing(start: Start) -> None:
    async with start(requests_max_bytes=40 * MIB, receive_timeout_s=30) as broker:
        messages = [OutgoingMessage(id=f"{n}", payload=b"x" * 30 * MIB) for n in range(2)]
        for message in messages:
            await broker.client.publish([message])
        (raw,) = await readers(broker, "/consume", 1)
        await until(broker, in_flight=1)
        with pytest.raises(Busy):
            await broker.client.consume(1)
        await until(broker, in_flight=1, ready=1)
        consumed = await broker.client.ack_and_consume([("nobody", "x")], 1)
        assert [ack.ok for ack in consumed.acks] == [True]
        assert consumed.messages == []
        raw.vanish()
        await until(broker, in_flight=0, ready=2)
        attempts = {d.id: d.attempts for d in await broker.client.consume(1)}
        attempts |= {d.id: d.attempts for d in await broker.client.consume(1)}
        assert attempts["1"] == 1
