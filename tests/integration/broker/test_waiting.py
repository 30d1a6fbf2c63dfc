"""Waiting publishers and consumers, and clients that leave."""

import asyncio
import random
import socket

import pytest

from gputel.errors import BrokerUnavailable, PayloadTooLarge, QueueClosed, QueueFull
from gputel.mq.client import OutgoingMessage, PublishIncomplete, QueueClient
from tests.integration.broker.conftest import until


def outgoing(*ids: str, payload: bytes = b"x") -> list[OutgoingMessage]:
    return [OutgoingMessage(id=id_, payload=payload) for id_ in ids]


async def raw_request(port: int, text: str) -> socket.socket:
    """Send a request on a connection of its own, and leave its reply unread."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, text.encode())
    return sock


CONSUME = "POST /consume HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


async def test_many_producers_and_consumers_each_message_once_in_order(broker) -> None:
    producers, per_producer = 6, 60
    seen: list[tuple[int, str]] = []
    turn = 0

    async def produce(n: int) -> None:
        rng = random.Random(n)
        for k in range(0, per_producer, 3):
            await broker.client.publish(outgoing(*(f"{n}/{k + j}" for j in range(3))))
            await asyncio.sleep(rng.random() / 500)

    async def consume() -> None:
        nonlocal turn
        while len(seen) < producers * per_producer:
            deliveries = await broker.client.consume(7, None, 0.2)
            seen.extend((d.attempts, d.id) for d in deliveries)
            await broker.client.ack([(d.id, d.lease) for d in deliveries])

    await asyncio.gather(*(produce(n) for n in range(producers)), *(consume() for _ in range(4)))
    assert len({id_ for _, id_ in seen}) == len(seen) == producers * per_producer
    assert {attempts for attempts, _ in seen} == {1}
    stats = await broker.client.stats()
    assert stats["acked"] == stats["published"] == producers * per_producer


async def test_one_consumer_sees_the_order_of_publishing(broker) -> None:
    ids = [str(n) for n in range(300)]
    for first in range(0, 300, 50):
        await broker.client.publish(outgoing(*ids[first : first + 50]))
    got: list[str] = []
    while len(got) < 300:
        got += [d.id for d in await broker.client.consume(33, None, 1.0)]
    assert got == ids


async def test_waiting_consumers_are_served_in_the_order_they_came(broker) -> None:
    waiters = []
    for n in range(5):
        waiters.append(asyncio.create_task(broker.client.consume(1, None, 30.0)))
        await until(broker, waiting_consumers=n + 1)
    await broker.publish(*"abcde")
    got = [(await waiter)[0].id for waiter in waiters]
    assert got == list("abcde")


async def test_consume_blocks_when_empty_and_resumes(broker) -> None:
    waiter = asyncio.create_task(broker.post("/consume"))
    await until(broker, waiting_consumers=1)
    assert not waiter.done()
    await broker.publish("a")
    status, delivery = await waiter
    assert (status, delivery["id"]) == (200, "a")


async def test_publish_blocks_when_full_and_resumes_in_order(start) -> None:
    async with start(queue_max_messages=1) as broker:
        await broker.publish("a")
        waiters = []
        for n, id_ in enumerate(("b", "c")):
            waiters.append(asyncio.create_task(broker.client.publish(outgoing(id_))))
            await until(broker, waiting_publishers=n + 1)
        got = []
        for _ in range(3):
            (delivery,) = await broker.client.consume(1, None, 5.0)
            got.append(delivery.id)
            await broker.client.ack([(delivery.id, delivery.lease)])
        assert got == ["a", "b", "c"]
        assert [(await waiter)[0].state for waiter in waiters] == ["accepted", "accepted"]


async def test_full_queue_answers_503_with_retry_after_when_the_wait_is_over(start) -> None:
    async with start(queue_max_messages=1, publish_wait_s=0.1) as broker:
        await broker.publish("a")
        async with broker.http.post(broker.url + "/publish?wait_s=60", json={"payload": ""}) as r:
            assert (r.status, r.headers["Retry-After"]) == (503, "1")
            assert (await r.json())["code"] == "queue_full"
        with pytest.raises(QueueFull):
            await broker.client.publish(outgoing("b"), wait_s=0)
        await until(broker, ready=1, waiting_publishers=0)


async def test_list_that_fits_in_part_tells_what_was_accepted(start) -> None:
    async with start(queue_max_messages=2) as broker:
        body = [{"id": id_, "payload": ""} for id_ in "aabc"]
        status, reply = await broker.post("/publish?wait_s=0.05", body)
        assert (status, reply["code"]) == (503, "queue_full")
        states = [(r["id"], r["state"]) for r in reply["results"]]
        assert states == [
            ("a", "accepted"),
            ("a", "duplicate"),
            ("b", "accepted"),
            ("c", "refused"),
        ]
        with pytest.raises(PublishIncomplete) as caught:
            await broker.client.publish(outgoing("b", "d"), wait_s=0)
        assert [r.state for r in caught.value.results] == ["duplicate", "refused"]


async def test_list_longer_than_the_queue_goes_through_while_consumers_make_room(start) -> None:
    async with start(queue_max_messages=3) as broker:
        task = asyncio.create_task(broker.client.publish(outgoing(*map(str, range(20)))))
        got: list[str] = []
        while len(got) < 20:
            deliveries = await broker.client.consume(2, None, 5.0)
            got += [d.id for d in deliveries]
            await broker.client.ack([(d.id, d.lease) for d in deliveries])
        assert got == [str(n) for n in range(20)]
        assert {result.state for result in await task} == {"accepted"}


async def test_waiting_bodies_are_bounded_like_the_queue(start) -> None:
    async with start(queue_max_bytes=4000) as broker:
        await broker.client.publish(outgoing("held", payload=b"x" * 3000))
        waiting = asyncio.create_task(broker.client.publish(outgoing("w", payload=b"x" * 3000)))
        await until(broker, waiting_publishers=1)
        with pytest.raises(QueueFull):
            await broker.client.publish(outgoing("v", payload=b"x" * 3000), wait_s=20)
        assert not waiting.done()
        await broker.client.consume(1)
        await broker.post("/ack", {"id": "held"})
        assert (await waiting)[0].state == "accepted"


async def test_message_that_can_never_fit_is_413_and_nothing_of_its_list_is_accepted(
    start,
) -> None:
    async with start(queue_max_bytes=2000) as broker:
        with pytest.raises(PayloadTooLarge, match="queue-max-bytes"):
            await broker.client.publish([*outgoing("a"), *outgoing("b", payload=b"x" * 2000)])
        assert (await broker.client.stats())["published"] == 0


async def test_client_that_leaves_while_waiting_neither_loses_nor_holds_a_message(broker) -> None:
    leavers = [await raw_request(broker.port, CONSUME) for _ in range(20)]
    await until(broker, waiting_consumers=20)
    for sock in leavers:
        sock.close()
    await until(broker, waiting_consumers=0)
    await broker.publish("a")
    (delivery,) = await broker.client.consume(1, None, 1.0)
    assert delivery.attempts == 1


async def test_clients_that_leave_while_messages_come_lose_none(broker) -> None:
    rng = random.Random(7)
    for n in range(60):
        sock = await raw_request(broker.port, CONSUME)
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        await asyncio.gather(broker.publish(f"m{n}"), asyncio.to_thread(sock.close))
    await until(broker, waiting_consumers=0)
    stats = await broker.client.stats()
    assert stats["published"] == 60 == stats["ready"] + stats["in_flight"]


async def test_consume_cancelled_in_the_client_gives_up_its_place(broker) -> None:
    task = asyncio.create_task(broker.client.consume(1, None, 60.0))
    await until(broker, waiting_consumers=1)
    task.cancel()
    await until(broker, waiting_consumers=0)
    await broker.publish("a")
    assert (await broker.client.consume(1))[0].attempts == 1


async def test_reply_that_could_not_be_written_gives_its_leases_back(broker) -> None:
    payload = b"x" * 8_000_000
    await broker.client.publish(outgoing("big", payload=payload))
    sock = await raw_request(broker.port, CONSUME)
    assert await asyncio.get_running_loop().sock_recv(sock, 1) == b"H"  # of a reply under way
    assert (await broker.client.stats())["in_flight"] == 1
    sock.close()
    (delivery,) = await broker.client.consume(1, None, 5.0)
    assert (delivery.attempts, delivery.payload == payload) == (2, True)


async def test_publisher_that_leaves_while_waiting_publishes_nothing_more(start) -> None:
    async with start(queue_max_messages=1) as broker:
        await broker.publish("a")
        task = asyncio.create_task(broker.client.publish(outgoing("b", "c")))
        await until(broker, waiting_publishers=1)
        task.cancel()
        await until(broker, waiting_publishers=0)
        await broker.post("/consume")
        await broker.post("/ack", {"id": "a"})
        await until(broker, ready=0, published=1)


async def test_lease_that_runs_out_is_redelivered_until_it_is_a_dead_letter(start) -> None:
    async with start(visibility_timeout_s=0.05, max_attempts=3) as broker:
        await broker.publish("a")
        got = [(await broker.client.consume(1, None, 5.0))[0].attempts for _ in range(3)]
        assert got == [1, 2, 3]
        await until(broker, dead=1, ready=0, in_flight=0)
        (result,) = await broker.client.publish(outgoing("a"))
        assert (result.state, result.held) == ("duplicate", "dead")


async def test_client_nack_dead_and_extend_answer_item_by_item(broker) -> None:
    await broker.publish("a", "b")
    a, b = await broker.client.consume(2)
    results = await broker.client.extend([(a.id, a.lease), ("c", "?")], 30.0)
    assert [(r.ok, r.code) for r in results] == [(True, None), (False, "unknown_message")]
    results = await broker.client.nack([(a.id, a.lease)], reason="no batch", dead=True)
    assert results[0].ok
    results = await broker.client.nack([(b.id, a.lease)])
    assert results[0].code == "stale_lease"
    assert await broker.client.ack([]) == []
    await until(broker, dead=1, in_flight=1)


async def test_max_bytes_bounds_a_delivery_but_never_to_nothing(broker) -> None:
    await broker.client.publish(outgoing("a", "b", "c", payload=b"x" * 1000))
    assert len(await broker.client.consume(10, 10)) == 1
    assert len(await broker.client.consume(10, 2100)) == 2


async def test_no_broker_is_broker_unavailable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with QueueClient(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(BrokerUnavailable, match=str(port)):
                await client.stats()


async def test_closed_broker_refuses_publishes_and_lets_a_consumer_empty_it(start) -> None:
    async with start() as broker:
        await broker.publish("a", "b")
        (first,) = await broker.client.consume(1)
        session_url = broker.url

        async def work() -> list[str]:
            got = [first.id]
            await asyncio.sleep(0.1)
            async with QueueClient(session_url) as client:
                with pytest.raises(QueueClosed):
                    await client.publish(outgoing("c"))
                await client.ack([(first.id, first.lease)])
                (second,) = await client.consume(1, None, 5.0)
                got.append(second.id)
                await client.ack([(second.id, second.lease)])
                with pytest.raises((QueueClosed, BrokerUnavailable)):
                    await client.consume(1, None, 5.0)
            return got

        worker = asyncio.create_task(work())
        # Holds a consumer's connection open past the block, as a collector at work does.
        holder = QueueClient(broker.url)
        await holder.__aenter__()
        await holder.ack([("none", "")])
    assert await asyncio.wait_for(worker, 60) == ["a", "b"]
    await holder.__aexit__(None, None, None)
