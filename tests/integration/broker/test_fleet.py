"""One client of several brokers: each message on one of them, all of them emptied."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gputel.errors import (
    BrokerUnavailable,
    ConfigError,
    PayloadTooLarge,
    QueueClosed,
    QueueFull,
    UnknownQueue,
)
from gputel.mq.client import OutgoingMessage, PublishIncomplete, QueueClient
from gputel.mq.connect import connect
from gputel.mq.fleet import consume as fleet_consume
from gputel.mq.fleet.client import QueueFleet
from tests.integration.broker.conftest import Broker, running


class Fleet:
    """Brokers by number, and a client of all."""

    def __init__(self, brokers: list[Broker], client: QueueClient) -> None:
        self.brokers = brokers
        self.client = client

    async def held(self) -> list[int]:
        """Ready messages of each broker."""
        return [(await broker.client.stats())["ready"] for broker in self.brokers]


@contextlib.asynccontextmanager
async def fleet_of(count: int, **settings: Any) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        brokers = [await stack.enter_async_context(running(**settings)) for _ in range(count)]
        client = connect([broker.url for broker in brokers])
        assert isinstance(client, QueueFleet)
        yield Fleet(brokers, await stack.enter_async_context(client))


def outgoing(*ids: str, key: str = "") -> list[OutgoingMessage]:
    return [OutgoingMessage(id=id_, key=key, payload=b"x") for id_ in ids]


async def drain(client: QueueClient) -> Counter[str]:
    """Consume and ack until there is nothing."""
    got: Counter[str] = Counter()
    while deliveries := await client.consume(7):
        got.update(delivery.id for delivery in deliveries)
        results = await client.ack([(d.id, d.lease) for d in deliveries])
        assert all(result.ok for result in results)
    return got


async def test_messages_spread_over_the_brokers_and_all_come_out_once() -> None:
    async with fleet_of(3) as fleet:
        ids = [str(n) for n in range(300)]
        results = await fleet.client.publish(outgoing(*ids))
        assert [(r.id, r.state) for r in results] == [(id_, "accepted") for id_ in ids]
        assert min(await fleet.held()) > 50
        assert (await fleet.client.stats())["ready"] == 300
        assert await drain(fleet.client) == Counter(ids)


async def test_same_message_published_again_by_anyone_is_a_duplicate() -> None:
    async with fleet_of(3) as fleet:
        ids = [str(n) for n in range(60)]
        await fleet.client.publish(outgoing(*ids))
        reversed_urls = ",".join(broker.url for broker in reversed(fleet.brokers))
        async with connect(reversed_urls) as other:
            results = await other.publish(outgoing(*ids))
        assert {result.state for result in results} == {"duplicate"}
        assert set(await fleet.client.held([*ids, "nobody"])) == {"ready", None}


async def test_one_key_stays_on_one_broker_in_its_order() -> None:
    async with fleet_of(3) as fleet:
        ids = [str(n) for n in range(60)]
        for part in (ids[:20], ids[20:]):
            await fleet.client.publish(outgoing(*part, key="k"))
        assert sorted(await fleet.held()) == [0, 0, 60]
        assert [d.id for d in await fleet.client.consume(100)] == ids


async def test_lists_without_ids_go_whole_to_one_broker_after_the_other() -> None:
    async with fleet_of(3) as fleet:
        for _ in range(3):
            await fleet.client.publish([OutgoingMessage(payload=b"x") for _ in range(10)])
        assert await fleet.held() == [10, 10, 10]


async def test_sends_share_requests_and_reach_all() -> None:
    async with fleet_of(2) as fleet:
        await asyncio.gather(*(fleet.client.send(b"x", id=str(n)) for n in range(200)))
        assert await drain(fleet.client) == Counter(map(str, range(200)))


async def test_leases_are_settled_at_the_broker_that_gave_them() -> None:
    async with fleet_of(3) as fleet:
        await fleet.client.publish(outgoing(*map(str, range(30))))
        items = [(d.id, d.lease) for d in await fleet.client.consume(100)]
        assert len(items) == 30
        assert all(r.ok for r in await fleet.client.extend(items, 60))
        assert all(r.ok for r in await fleet.client.nack(items[:10]))
        results = await fleet.client.ack([*items[10:], ("x", "no lease"), ("y", "99.z")])
        assert [r.ok for r in results] == [True] * 20 + [False] * 2
        assert [r.code for r in results[20:]] == ["stale_lease"] * 2
        consumed = await fleet.client.ack_and_consume(items[10:11], 100)
        assert [r.ok for r in consumed.acks] == [True]  # it is gone: an ack does nothing
        assert consumed.messages


async def test_without_a_lease_the_broker_that_holds_the_message_is_found() -> None:
    async with fleet_of(3) as fleet:
        client = fleet.client
        await client.publish(outgoing("a", "b", "c"))
        assert len(await client.consume(9)) == 3
        assert [r.ok for r in await client.extend([("a", None)], 60)] == [True]
        assert [r.code for r in await client.extend([("gone", None)], 60)] == ["unknown_message"]
        assert [r.ok for r in await client.nack([("c", None), ("gone", "")])] == [True] * 2
        consumed = await client.ack_and_consume([("a", None), ("b", ""), ("gone", None)], 9)
        assert [(r.id, r.ok) for r in consumed.acks] == [("a", True), ("b", True), ("gone", True)]
        assert [delivery.id for delivery in consumed.messages] == ["c"]
        assert (await client.stats())["acked"] == 2


async def test_waiting_consume_gets_what_any_broker_gets() -> None:
    async with fleet_of(3) as fleet:
        for n, broker in enumerate(fleet.brokers):
            task = asyncio.create_task(fleet.client.consume(1, None, 20))
            await asyncio.sleep(0.05)
            await broker.publish(str(n))
            (delivery,) = await task
            assert delivery.id == str(n)
            await fleet.client.ack([(delivery.id, delivery.lease)])
        assert await fleet.client.consume(1, None, 0.1) == []
        async with asyncio.timeout(60):
            while any([(await b.client.stats())["waiting_consumers"] for b in fleet.brokers]):
                await asyncio.sleep(0.01)


async def test_consumes_cancelled_at_any_moment_leave_no_message_leased() -> None:
    async with fleet_of(2, max_attempts=1000) as fleet:
        for n in range(40):
            task = asyncio.create_task(fleet.client.consume(5, None, 5.0))
            await asyncio.sleep(n % 5 / 1000)
            publishing = asyncio.create_task(fleet.client.send(b"x", id=str(n)))
            await asyncio.sleep(n % 7 / 2000)
            task.cancel()
            (got,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(got, list):
                await fleet.client.nack([(d.id, d.lease) for d in got])
            await publishing
        async with asyncio.timeout(60):
            while (await fleet.client.stats())["ready"] < 40:
                await asyncio.sleep(0.01)


async def test_consumers_are_served_by_all_brokers_in_turn() -> None:
    async with fleet_of(3) as fleet:
        for broker in fleet.brokers:
            await broker.publish(*(f"{broker.port}/{n}" for n in range(10)))
        first = [(await fleet.client.consume(1))[0].id.split("/")[0] for _ in range(9)]
        assert set(Counter(first).values()) == {3}


async def test_consume_takes_from_all_brokers_up_to_its_bounds() -> None:
    async with fleet_of(3) as fleet:
        for broker in fleet.brokers:
            await broker.publish(*(f"{broker.port}/{n}" for n in range(10)))  # 8 bytes each
        assert len(await fleet.client.consume(25)) == 25
        assert len(await fleet.client.consume(100, 24)) == 3
        assert len(await fleet.client.consume(100)) == 2
        assert await fleet.client.consume(100) == []


async def test_consume_that_fails_at_one_broker_gives_what_others_gave() -> None:
    async with (
        running() as first,
        running(queue_create="declared") as second,
        connect([first.url, second.url]) as client,
    ):
        await first.client.publish(outgoing("a", "b"), queue="jobs")
        got = []
        for _ in range(4):
            with contextlib.suppress(UnknownQueue):
                got += await client.consume(1, queue="jobs")
        assert sorted(d.id for d in got) == ["a", "b"]


async def test_broker_that_is_away_is_passed_over_and_used_again_when_it_is_back(
    unused_tcp_port: int,
) -> None:
    async with running() as first:
        urls = [first.url, f"http://127.0.0.1:{unused_tcp_port}"]
        async with connect(urls) as client:
            ids = [str(n) for n in range(40)]
            results = await client.publish(outgoing(*ids, key="k") + outgoing("other"))
            assert {result.state for result in results} == {"accepted"}
            assert len(await client.consume(100, None, 1)) == 41
            async with running(broker_port=unused_tcp_port) as second:
                async with asyncio.timeout(60):
                    n = 0
                    while not (await second.client.stats())["published"]:
                        await client.publish(outgoing(f"new {n}"))
                        n += 1
                        await asyncio.sleep(0.02)
                await second.publish("there")
                async with asyncio.timeout(60):
                    got = set()
                    while "there" not in got:
                        got |= {d.id for d in await client.consume(100, None, 1)}


async def test_acks_for_a_broker_that_is_gone_keep_nobody_from_the_others() -> None:
    async with contextlib.AsyncExitStack() as stack:
        staying = await stack.enter_async_context(running())
        going = contextlib.AsyncExitStack()
        gone = await going.enter_async_context(running(drain_deadline_s=0.1))
        client = await stack.enter_async_context(connect([staying.url, gone.url]))
        await gone.publish("landed")
        (landed,) = await client.consume(1, None, 5)
        await going.aclose()
        await staying.publish("next")
        for _ in range(2):
            consumed = await client.ack_and_consume([(landed.id, landed.lease)], 1, None, 60, 0.1)
            assert [ack.code for ack in consumed.acks] == ["broker_unavailable"]
            assert [delivery.id for delivery in consumed.messages] == ["next"]


async def test_broker_that_takes_requests_and_answers_none_is_asked_once(monkeypatch) -> None:
    monkeypatch.setattr(fleet_consume, "_SILENT_S", 1.0)
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            heard.append(data)
        writer.close()

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with running() as broker, connect([broker.url, f"http://127.0.0.1:{port}"]) as client:
        for n in range(20):
            await broker.publish(str(n))
            (delivery,) = await client.consume(5, None, 5)
            assert (await client.ack([(delivery.id, delivery.lease)]))[0].ok
        assert len([data for data in heard if b"/consume" in data]) == 1
    silent.close()
    await silent.wait_closed()


async def test_no_broker_at_all_is_an_error_for_all_calls(unused_tcp_port: int) -> None:
    async with connect([f"http://127.0.0.1:{unused_tcp_port}", "http://127.0.0.1:1"]) as client:
        for call in (
            client.publish(outgoing("a")),
            client.consume(1, None, 5),
            client.held(["a"]),
            client.stats(),
        ):
            with pytest.raises(BrokerUnavailable):
                await call
        assert "answers" in (await client.check() or "")


async def test_draining_broker_takes_no_more_and_is_emptied() -> None:
    async with fleet_of(2) as fleet:
        await fleet.client.publish(outgoing(*map(str, range(40))))
        before = await fleet.held()
        await fleet.brokers[0].post("/admin/drain")
        results = await fleet.client.publish(outgoing(*map(str, range(100, 140))))
        assert {result.state for result in results} == {"accepted"}
        assert await fleet.held() == [before[0], before[1] + 40]
        assert sum((await drain(fleet.client)).values()) == 80
        await fleet.brokers[1].post("/admin/drain")
        with pytest.raises(QueueClosed):
            await fleet.client.publish(outgoing("late"))
        with pytest.raises(QueueClosed):
            await fleet.client.consume(1, None, 5)


async def test_full_broker_sends_messages_elsewhere_but_keys_wait() -> None:
    async with fleet_of(2, queue_max_messages=5) as fleet:
        results = await fleet.client.publish(outgoing(*map(str, range(10))), 0)
        assert {result.state for result in results} == {"accepted"}
        with pytest.raises(QueueFull):
            await fleet.client.publish(outgoing("more"), 0)
        assert await drain(fleet.client) == Counter(map(str, range(10)))
        with pytest.raises(PublishIncomplete) as error:
            await fleet.client.publish(outgoing(*map(str, range(8)), key="k"), 0)
        states = [result.state for result in error.value.results]
        assert states == ["accepted"] * 5 + ["refused"] * 3
        assert sorted(await fleet.held()) == [0, 5]


async def test_message_that_no_broker_takes_is_refused() -> None:
    async with fleet_of(2, queue_max_bytes=5000) as fleet:
        with pytest.raises(PayloadTooLarge):
            await fleet.client.publish([OutgoingMessage(id="a", payload=b"x" * 6000)])


@pytest.mark.parametrize("wrong", ["http://a:1,b:2", "dns+https://a:1", "http://a:1,http://b:x"])
async def test_wrong_address_in_a_list_is_named(wrong: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        async with connect(wrong):
            pass
