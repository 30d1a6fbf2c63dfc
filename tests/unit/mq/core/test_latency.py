"""How long messages wait, and how long they are worked on."""

import pytest

from gputel.mq.core.counters import Latency
from gputel.mq.core.message import QueuedMessage
from gputel.mq.core.queue import MessageQueue
from tests.helpers.queues import message, queue_of


def queue_with(*messages: QueuedMessage, at: float = 0.0) -> MessageQueue:
    queue = queue_of()
    for each in messages:
        queue.publish(each, at)
    return queue


def timed(latency: Latency) -> tuple[int, float]:
    return latency.count, round(latency.total_s, 6)


def test_wait_is_timed_from_the_publish_and_work_from_the_delivery() -> None:
    queue = queue_with(message("a"), message("b"))
    for delivery in queue.lease(2, None, 3.0):
        queue.ack(delivery.message.id, delivery.lease, 3.5)
    assert timed(queue.waits) == (2, 6.0)
    assert timed(queue.work) == (2, 1.0)


def test_wait_begins_when_a_delay_ends() -> None:
    queue = queue_with(message("a", delay_s=10.0))
    queue.lease(1, None, 12.0)
    assert timed(queue.waits) == (1, 2.0)


def test_only_the_first_delivery_ends_a_wait_and_the_last_one_begins_the_work() -> None:
    queue = queue_with(message("a"))
    (first,) = queue.lease(1, None, 1.0)
    queue.nack("a", first.lease, 2.0)
    (second,) = queue.lease(1, None, 5.0)
    queue.nack("a", second.lease, 6.0, dead=True)
    queue.replay("a")
    queue.lease(1, None, 20.0)
    queue.ack("a", None, 20.5)
    assert timed(queue.waits) == (1, 1.0)
    assert timed(queue.work) == (1, 0.5)


def test_a_time_counts_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    latency = Latency()
    for seconds in (0.0, 0.0005, 0.0006, 7200.0, 7201.0):
        latency.add(seconds)
    assert latency.counts[:2] == [2, 1]
    assert latency.counts[-2:] == [1, 1]
    assert latency.count == 5


def test_quantile_lies_in_the_bucket_in_which_it_falls() -> None:
    latency = Latency()
    assert latency.quantile(0.5) == 0.0
    for _ in range(99):
        latency.add(0.7)
    latency.add(100_000.0)
    assert latency.quantile(0.5) == pytest.approx(0.5 + 0.5 * 50 / 99)
    assert 0.5 < latency.quantile(0.99) <= 1.0
    assert latency.quantile(1.0) == 7200.0
