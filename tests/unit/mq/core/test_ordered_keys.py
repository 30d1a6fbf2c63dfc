"""Ordered keys: one of a key at a time, in the order of publishing."""

from typing import Any

from gputel.mq.core.queue import MessageQueue
from tests.helpers.queues import leased_ids, message, queue_of


def publish(queue: MessageQueue, *ids: str, **more: Any) -> None:
    """Publish ids such as ``k1``: their first character is their key, ``_`` is none."""
    for id_ in ids:
        assert queue.publish(message(id_, key=id_[0].strip("_"), **more), 0.0) is None


def test_a_key_is_never_in_flight_twice_and_others_go_ahead() -> None:
    queue = queue_of(ordered_keys=True)
    publish(queue, "k1", "k2", "l1", "k3", "_1", "_2", "l2")
    assert leased_ids(queue) == ["k1", "l1", "_1", "_2"]
    assert (queue.ready, queue.blocked) == (3, 3)
    queue.ack("k1", None, 0.0)
    assert leased_ids(queue) == ["k2"]
    queue.ack("l1", None, 0.0)
    queue.ack("k2", None, 0.0)
    assert leased_ids(queue) == ["k3", "l2"]


def test_next_of_a_key_waits_while_one_is_delayed_and_until_it_was_redelivered() -> None:
    queue = queue_of(ordered_keys=True)
    publish(queue, "k1", "k2")
    queue.lease(1, None, 0.0)
    queue.nack("k1", None, 0.0, delay_s=5.0)
    assert leased_ids(queue, 1.0) == []
    queue.expire(5.0)
    assert leased_ids(queue, 5.0) == ["k1"]
    queue.nack("k1", None, 6.0)
    assert leased_ids(queue, 6.0) == ["k1"]
    queue.ack("k1", None, 7.0)
    assert leased_ids(queue, 7.0) == ["k2"]


def test_next_of_a_key_waits_for_one_that_was_published_with_a_delay() -> None:
    queue = queue_of(ordered_keys=True)
    publish(queue, "k1", delay_s=5.0)
    publish(queue, "k2")
    assert leased_ids(queue) == []
    assert leased_ids(queue, 5.0) == ["k1"]


def test_delay_that_ends_out_of_turn_waits_for_its_turn() -> None:
    queue = queue_of(ordered_keys=True)
    publish(queue, "k1")
    publish(queue, "k2", delay_s=5.0)
    publish(queue, "k3")
    leased_ids(queue)
    queue.expire(5.0)
    assert queue.blocked == 2
    queue.ack("k1", None, 6.0)
    assert leased_ids(queue, 6.0) == ["k2"]


def test_dead_letter_lets_the_next_of_its_key_go_and_is_replayed_behind_all() -> None:
    queue = queue_of(ordered_keys=True)
    publish(queue, "k1", "k2")
    queue.lease(1, None, 0.0)
    queue.nack("k1", None, 0.0, dead=True)
    queue.replay("k1")
    assert leased_ids(queue) == ["k2"]
    queue.ack("k2", None, 0.0)
    assert leased_ids(queue) == ["k1"]


def test_expired_message_lets_the_next_of_its_key_go() -> None:
    queue = queue_of(ordered_keys=True)
    publish(queue, "k1", "k2", ttl_s=5.0)
    publish(queue, "k3")
    assert leased_ids(queue, 5.0) == ["k3"]
    assert queue.counters.expired == 2


def test_lease_that_runs_out_keeps_the_turn_of_its_message() -> None:
    queue = queue_of(ordered_keys=True, visibility_timeout_s=10.0)
    publish(queue, "k1", "k2")
    assert leased_ids(queue) == ["k1"]
    assert leased_ids(queue, 10.0) == ["k1"]


def test_nothing_is_kept_of_a_key_whose_messages_are_gone() -> None:
    queue = queue_of(ordered_keys=True)
    for n in range(100):
        publish(queue, f"{chr(0x100 + n)}1", f"{chr(0x100 + n)}2")
    while ids := leased_ids(queue):
        for id_ in ids:
            queue.ack(id_, None, 0.0)
    assert queue.counters.acked == 200
    assert not queue._ready._up  # type: ignore[attr-defined]
    assert not queue._ready._behind  # type: ignore[attr-defined]
    assert queue.drained
