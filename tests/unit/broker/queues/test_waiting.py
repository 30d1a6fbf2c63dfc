"""Races of the waiting queue that a socket cannot time: everything here is one event loop."""

import asyncio
from typing import Any

import pytest

from gputel.broker.queues.waiting import WaitingQueue
from gputel.errors import QueueClosed
from tests.helpers.queues import message, queue_of


async def turn() -> None:
    await asyncio.sleep(0)


def waiting_queue(**limits: Any) -> WaitingQueue:
    return WaitingQueue(queue_of(**limits))


async def test_consumer_cancelled_after_it_was_served_gives_the_message_back() -> None:
    waiting = waiting_queue()
    consumer = asyncio.create_task(waiting.consume(1, None, None))
    await turn()
    publisher = asyncio.create_task(waiting.publish([message("a")], 0))
    await turn()
    assert waiting.queue.in_flight == 1
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert (waiting.queue.in_flight, waiting.queue.ready) == (0, 1)
    assert await publisher == [None]
    (delivery,) = await waiting.consume(1, None, 0)
    assert delivery.attempts == 1


async def test_message_given_back_goes_to_the_next_waiting_consumer() -> None:
    waiting = waiting_queue()
    first, second = [asyncio.create_task(waiting.consume(1, None, None)) for _ in range(2)]
    await turn()
    publisher = asyncio.create_task(waiting.publish([message("a")], 0))
    await turn()
    first.cancel()
    assert [delivery.message.id for delivery in await second] == ["a"]
    assert first.cancelled()
    assert await publisher == [None]


async def test_cancelled_publisher_leaves_its_place_to_the_next() -> None:
    waiting = waiting_queue(max_messages=1)
    await waiting.publish([message("a")], 0)
    first = asyncio.create_task(waiting.publish([message("b")], 10))
    second = asyncio.create_task(waiting.publish([message("c")], 10))
    await turn()
    await waiting.consume(1, None, 0)
    first.cancel()
    waiting.each(lambda id_, now: waiting.queue.ack(id_, None, now), ["a"])
    assert await second == [None]
    assert waiting.queue.oldest_ready().id == "c"
    assert first.cancelled()


async def test_lease_that_ends_within_half_a_millisecond_is_no_hindrance() -> None:
    waiting = waiting_queue()
    await waiting.publish([message("a"), message("b")], 0)
    (held,) = await waiting.consume(1, None, 0, 0.0001)
    assert waiting.each(lambda id_, now: waiting.queue.extend(id_, None, now), ["c"])[0] is not None
    await asyncio.sleep(0.01)
    assert {delivery.message.id for delivery in await waiting.consume(2, None, 0)} == {"a", "b"}
    assert held.message.id == "a"


async def test_times_far_below_a_millisecond_are_measured_above_zero() -> None:
    waiting = waiting_queue()
    await waiting.publish([message("a")], 0)
    (delivery,) = await waiting.consume(1, None, 0)  # within one turn of the event loop
    waiting.each(lambda id_, now: waiting.queue.ack(id_, delivery.lease, now), ["a"])
    assert waiting.queue.waits.total_s > 0
    assert waiting.queue.work.total_s > 0


async def test_lease_ends_at_its_time_and_not_before() -> None:
    waiting = waiting_queue()
    await waiting.publish([message("a")], 0)
    before = waiting.now()
    await waiting.consume(1, None, 0, 0.05)
    (again,) = await waiting.consume(1, None, None)
    assert again.attempts == 2
    assert waiting.now() >= before + 0.05
    assert waiting.queue.counters.lease_timeouts == 1


async def test_stop_sends_every_waiter_away() -> None:
    waiting = waiting_queue(max_messages=1)
    await waiting.publish([message("a")], 0)
    publisher = asyncio.create_task(waiting.publish([message("b")], 10))
    await waiting.consume(1, None, 0)
    consumer = asyncio.create_task(waiting.consume(1, None, None))
    await turn()
    waiting.stop()
    assert isinstance((await publisher)[0], QueueClosed)
    with pytest.raises(QueueClosed):
        await consumer
    with pytest.raises(QueueClosed):
        await waiting.consume(1, None, 0)


async def test_thousands_of_idle_consumers_that_time_out_leave_nothing_behind() -> None:
    waiting = waiting_queue()
    waiters = [waiting.consume(1, None, 0.01) for _ in range(3000)]
    assert await asyncio.gather(*waiters) == [[]] * 3000
    assert waiting.waiting_consumers == 0


async def test_a_closed_queue_sends_consumers_away_when_the_last_lease_is_acked() -> None:
    waiting = waiting_queue()
    await waiting.publish([message("a")], 0)
    await waiting.consume(1, None, 0)
    consumer = asyncio.create_task(waiting.consume(1, None, None))
    await turn()
    waiting.close()
    await turn()
    assert not consumer.done()
    waiting.each(lambda id_, now: waiting.queue.ack(id_, None, now), ["a"])
    with pytest.raises(QueueClosed):
        await consumer


async def test_others_get_their_turn_while_many_messages_are_dropped() -> None:
    waiting = waiting_queue()
    await waiting.publish([message(str(n)) for n in range(7000)], 0)
    waiting.stop()
    dropping = asyncio.create_task(waiting.drop_all())
    await turn()
    assert not dropping.done()
    assert (len(waiting.queue), waiting.queue.held_bytes, waiting.queue.ready) == (0, 0, 0)
    await dropping
    assert waiting.queue.counters.purged == 7000
