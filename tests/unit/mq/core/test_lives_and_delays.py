"""Messages that are published for later, and messages that are published for a while."""

from typing import Any

import pytest

from gputel.errors import QueueClosed
from gputel.mq.core.message import State
from gputel.mq.core.queue import MessageQueue
from tests.helpers.queues import leased_ids, message, queue_of


def publish(queue: MessageQueue, id_: str, now: float = 0.0, **more: Any) -> None:
    assert queue.publish(message(id_, **more), now) is None


def test_delayed_publish_is_ready_when_its_delay_ends_and_takes_its_place_in_the_order() -> None:
    queue = queue_of()
    publish(queue, "before")
    publish(queue, "later", delay_s=5.0)
    publish(queue, "after")
    assert (queue.ready, queue.delayed, queue.next_deadline()) == (2, 1, 5.0)
    assert queue.state_of("later") is State.DELAYED
    queue.expire(5.0)
    assert leased_ids(queue, 5.0) == ["before", "later", "after"]


def test_message_whose_time_is_over_is_dropped_from_the_middle_of_the_line() -> None:
    queue = queue_of()
    publish(queue, "a")
    publish(queue, "b", ttl_s=5.0)
    publish(queue, "c")
    assert queue.expire(5.0) is None
    assert (queue.ready, queue.counters.expired, queue.state_of("b")) == (2, 1, None)
    assert leased_ids(queue, 5.0) == ["a", "c"]


def test_message_is_not_delivered_once_its_time_is_over_though_nobody_looked() -> None:
    queue = queue_of()
    publish(queue, "a", ttl_s=5.0)
    assert leased_ids(queue, 5.0) == []
    assert queue.held_bytes == 0


def test_message_in_flight_can_be_acked_after_its_time() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a", ttl_s=5.0)
    assert leased_ids(queue, 4.0) == ["a"]
    assert queue.expire(6.0) == 14.0
    queue.ack("a", None, 7.0)
    assert (queue.counters.acked, queue.counters.expired) == (1, 0)


@pytest.mark.parametrize("how", ["lease over", "nack", "nack with a delay", "given back"])
def test_message_that_comes_back_after_its_time_expires(how: str) -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a", ttl_s=5.0)
    (delivery,) = queue.lease(1, None, 0.0)
    if how == "lease over":
        queue.expire(10.0)
    elif how == "given back":
        queue.give_back("a", delivery.lease, 6.0)
    else:
        queue.nack("a", None, 6.0, delay_s=3.0 if "delay" in how else 0.0)
    assert (len(queue), queue.counters.expired, queue.next_deadline()) == (0, 1, None)


def test_message_that_comes_back_in_time_expires_when_its_time_is_over() -> None:
    queue = queue_of()
    publish(queue, "a", ttl_s=5.0)
    queue.lease(1, None, 0.0)
    queue.nack("a", None, 1.0)
    assert queue.next_deadline() == 5.0
    queue.expire(5.0)
    assert queue.counters.expired == 1


def test_delay_longer_than_the_life_ends_with_it() -> None:
    queue = queue_of()
    publish(queue, "a", delay_s=9.0, ttl_s=5.0)
    queue.expire(5.0)
    assert (queue.delayed, queue.counters.expired) == (0, 1)


def test_dead_letter_outlives_its_time_and_has_no_end_once_replayed() -> None:
    queue = queue_of(max_attempts=1)
    publish(queue, "a", ttl_s=5.0)
    queue.lease(1, None, 0.0)
    queue.nack("a", None, 1.0)
    assert queue.expire(100.0) is None
    queue.replay("a")
    assert leased_ids(queue, 200.0) == ["a"]


def test_closed_queue_is_drained_when_the_last_message_expires() -> None:
    queue = queue_of()
    publish(queue, "a", ttl_s=5.0)
    queue.close()
    with pytest.raises(QueueClosed):
        queue.lease(1, None, 5.0)


def test_expired_id_can_be_published_again() -> None:
    queue = queue_of()
    publish(queue, "a", ttl_s=5.0)
    queue.expire(5.0)
    assert queue.state_of("a") is None
    publish(queue, "a", 6.0)
    assert leased_ids(queue, 6.0) == ["a"]


def test_line_stays_bounded_while_messages_expire_behind_one_that_stays() -> None:
    queue = queue_of()
    publish(queue, "stays")
    publish(queue, "back")
    queue.lease(2, None, 0.0)
    queue.nack("stays", None, 0.0)
    queue.nack("back", None, 0.0)
    for n in range(5000):
        publish(queue, f"m{n}", now=float(n), ttl_s=0.5)
        queue.expire(n + 0.5)
    assert len(queue._ready._fresh) < 200
    assert queue.counters.expired == 5000
    assert leased_ids(queue, 9000.0) == ["stays", "back"]


def test_much_that_is_due_at_once_is_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gputel.mq.core.queue._MOST_AT_ONCE", 3)
    queue = queue_of()
    for n in range(8):
        publish(queue, str(n))
    queue.lease(8, None, 0.0, 5.0)
    assert (queue.expire(5.0), queue.ready) == (5.0, 3)
    assert (queue.expire(5.0), queue.ready) == (5.0, 6)
    assert (queue.expire(5.0), queue.ready) == (None, 8)
    assert queue.counters.lease_timeouts == 8


def test_message_whose_life_is_over_is_never_delivered_however_much_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gputel.mq.core.queue._MOST_AT_ONCE", 1)
    queue = queue_of()
    for n in range(5):
        publish(queue, str(n), ttl_s=5.0)
    publish(queue, "lasts")
    assert leased_ids(queue, 5.0) == ["lasts"]
    assert (queue.counters.expired, len(queue)) == (5, 1)


@pytest.mark.parametrize("most", [1, 2, 10])
def test_consumer_is_given_what_stands_behind_more_than_expires_at_once(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("gputel.mq.core.queue._MOST_AT_ONCE", 5)
    queue = queue_of()
    for n in range(9):
        publish(queue, f"old-{n}", ttl_s=1.0)
    publish(queue, "alive")
    assert [d.message.id for d in queue.lease(most, None, 2.0)] == ["alive"]
    assert queue.counters.expired == 9
