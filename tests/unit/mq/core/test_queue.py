"""The queue alone: time is passed in, so nothing here waits."""

import pytest

from gputel.errors import PayloadTooLarge, QueueClosed, QueueFull, StaleLease, UnknownMessage
from gputel.mq.core.message import HISTORY_LENGTH, OVERHEAD_BYTES, State
from gputel.mq.core.queue import MessageQueue
from tests.helpers.queues import leased_ids, message, queue_of


def publish(queue: MessageQueue, *ids: str, now: float = 0.0) -> None:
    for id_ in ids:
        assert queue.publish(message(id_), now) is None


def assert_balanced(queue: MessageQueue) -> None:
    c = queue.counters
    held = queue.ready + queue.delayed + queue.in_flight + len(queue.dead_letters)
    assert c.published == c.acked + c.purged + c.expired + c.dead_dropped + held
    assert held == len(queue)


def test_messages_are_delivered_in_the_order_of_publishing() -> None:
    queue = queue_of()
    publish(queue, "a", "b", "c")
    assert leased_ids(queue, most=2) == ["a", "b"]
    assert leased_ids(queue) == ["c"]
    assert leased_ids(queue) == []


def test_an_acked_message_is_gone() -> None:
    queue = queue_of()
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.ack("a", delivery.lease, 1.0)
    assert len(queue) == 0
    assert queue.held_bytes == 0
    assert queue.next_deadline() is None
    for lease in (delivery.lease, None, "another"):
        queue.ack("a", lease, 1.0)
        queue.nack("a", lease, 1.0, dead=True)
    assert (queue.counters.acked, queue.counters.nacked) == (1, 0)
    with pytest.raises(UnknownMessage):
        queue.extend("a", None, 1.0)


def test_ack_by_id_alone_ends_whichever_delivery_is_in_flight() -> None:
    queue = queue_of()
    publish(queue, "a")
    leased_ids(queue)
    queue.ack("a", None, 1.0)
    assert len(queue) == 0


def test_ack_with_a_lease_of_a_message_that_is_not_in_flight_is_stale() -> None:
    queue = queue_of()
    publish(queue, "a")
    with pytest.raises(StaleLease, match="ready"):
        queue.ack("a", "lease", 0.0)


@pytest.mark.parametrize("ordered_keys", [False, True])
@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_ack_by_id_alone_counts_for_a_delivery_that_has_ended(
    ordered_keys: bool, delay_s: float
) -> None:
    queue = queue_of(ordered_keys=ordered_keys)
    for id_ in ("a", "b"):
        queue.publish(message(id_, ttl_s=60.0), 0.0)
    queue.publish(message("late", delay_s=9.0), 0.0)
    queue.lease(1, None, 0.0)
    queue.nack("a", None, 1.0, delay_s=delay_s)
    queue.ack("a", None, 2.0)
    queue.ack("b", None, 2.0)  # never delivered
    queue.ack("late", "", 2.0)
    assert (len(queue), queue.ready, queue.delayed, queue.counters.acked) == (2, 1, 1, 1)
    assert leased_ids(queue, most=5) == ["b"]


def test_ack_by_id_alone_leaves_a_dead_letter() -> None:
    queue = queue_of(max_attempts=1)
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.nack("a", delivery.lease, 0.0)
    queue.ack("a", None, 1.0)
    assert len(queue.dead_letters) == 1
    with pytest.raises(StaleLease):
        queue.ack("a", delivery.lease, 1.0)


def test_expired_lease_makes_the_message_ready_again_with_one_more_attempt() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a")
    (first,) = queue.lease(1, None, 0.0)
    assert queue.next_deadline() == 10.0
    assert queue.expire(9.9) == 10.0
    assert queue.ready == 0
    assert queue.expire(10.0) is None
    (second,) = queue.lease(1, None, 10.0)
    assert (first.attempts, second.attempts) == (1, 2)
    assert first.lease != second.lease
    with pytest.raises(StaleLease):
        queue.ack("a", first.lease, 11.0)
    queue.ack("a", second.lease, 11.0)


def test_a_lease_is_stale_from_its_deadline_on_even_before_it_was_taken_back() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    with pytest.raises(StaleLease, match="ready again"):
        queue.ack("a", delivery.lease, 10.0)


def test_returned_messages_take_their_old_places() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a", "b", "c", "d")
    deliveries = queue.lease(3, None, 0.0)
    for delivery in (deliveries[2], deliveries[0]):
        queue.nack(delivery.message.id, delivery.lease, 1.0)
    assert leased_ids(queue, 1.0, 1) == ["a"]
    queue.expire(10.0)
    assert leased_ids(queue, now=10.0) == ["b", "c", "d"]


def test_nack_with_a_delay_is_ready_when_the_delay_ends() -> None:
    queue = queue_of()
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.nack("a", delivery.lease, 1.0, delay_s=5.0)
    assert (queue.ready, queue.delayed, queue.in_flight) == (0, 1, 0)
    assert queue.next_deadline() == 6.0
    queue.expire(6.0)
    assert leased_ids(queue, now=6.0) == ["a"]
    assert queue.counters.lease_timeouts == 0


def test_extend_moves_the_deadline_both_ways() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.extend("a", delivery.lease, 5.0)
    assert queue.expire(10.0) == 15.0
    queue.extend("a", delivery.lease, 10.0, 1.0)
    assert queue.next_deadline() == 11.0
    queue.extend("a", delivery.lease, 10.5, 100.0)
    assert queue.expire(11.0) == 110.5
    assert queue.in_flight == 1


def test_heap_stays_bounded_while_leases_are_extended_and_acked_for_ever() -> None:
    queue = queue_of(visibility_timeout_s=1000.0)
    publish(queue, "kept")
    (kept,) = queue.lease(1, None, 0.0)
    for n in range(5000):
        queue.extend("kept", kept.lease, 0.0, 900.0 - n / 10 if n % 2 else 1000.0)
        publish(queue, f"m{n}")
        queue.lease(1, None, 0.0)
        queue.ack(f"m{n}", None, 0.0)
    assert len(queue._deadlines._heap) < 200
    assert queue.next_deadline() is not None


def test_message_is_a_dead_letter_after_its_last_attempt_and_tells_its_history() -> None:
    queue = queue_of(max_attempts=2, visibility_timeout_s=10.0)
    publish(queue, "a")
    queue.lease(1, None, 0.0)
    queue.expire(10.0)
    (delivery,) = queue.lease(1, None, 20.0)
    queue.nack("a", delivery.lease, 21.0, reason="disk on fire")
    assert leased_ids(queue, now=21.0) == []
    dead = queue.dead_letters.get("a")
    assert dead.state is State.DEAD
    assert [(f.attempt, f.at, f.reason) for f in dead.history] == [
        (1, 10.0, "the lease ran out"),
        (2, 21.0, "disk on fire"),
    ]


def test_nack_dead_goes_to_the_dead_letters_at_once() -> None:
    queue = queue_of()
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.nack("a", delivery.lease, 1.0, reason="cannot decode", dead=True, delay_s=9.0)
    assert queue.dead_letters.ids() == ["a"]
    assert queue.next_deadline() is None


def test_replayed_dead_letter_is_ready_behind_the_others_with_new_attempts() -> None:
    queue = queue_of(max_attempts=1)
    publish(queue, "a", "b")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.nack("a", delivery.lease, 0.0)
    queue.replay("a")
    deliveries = queue.lease(2, None, 0.0)
    assert [(d.message.id, d.attempts) for d in deliveries] == [("b", 1), ("a", 1)]
    with pytest.raises(UnknownMessage):
        queue.replay("a")


def test_purged_dead_letter_frees_its_room() -> None:
    queue = queue_of(max_attempts=1, max_messages=1, dead_letters_share=1.0)
    publish(queue, "a")
    queue.lease(1, None, 0.0)
    queue.nack("a", None, 0.0)
    with pytest.raises(QueueFull, match="dead letters"):
        queue.publish(message("b"), 0.0)
    queue.purge("a")
    assert queue.held_bytes == 0
    publish(queue, "b")
    assert_balanced(queue)


def test_dead_letters_are_paged_oldest_first() -> None:
    queue = queue_of(max_attempts=1)
    publish(queue, *"abcde")
    queue.lease(5, None, 0.0)
    queue.expire(100.0)
    assert [m.id for m in queue.dead_letters.page(1, 2)] == ["b", "c"]
    assert queue.dead_letters.page(5, 2) == []


def test_an_id_that_is_held_is_a_duplicate_and_its_state_is_told() -> None:
    queue = queue_of(max_attempts=1)
    publish(queue, "a")
    assert queue.publish(message("a"), 0.0) is State.READY
    (delivery,) = queue.lease(1, None, 0.0)
    assert queue.publish(message("a"), 0.0) is State.IN_FLIGHT
    queue.nack("a", delivery.lease, 0.0)
    assert queue.publish(message("a"), 0.0) is State.DEAD
    queue.purge("a")
    assert queue.publish(message("a"), 0.0) is None
    assert queue.counters.duplicates == 3


def test_duplicate_is_told_even_when_the_queue_is_full() -> None:
    queue = queue_of(max_messages=1)
    publish(queue, "a")
    assert queue.publish(message("a"), 0.0) is State.READY


def test_queue_is_full_at_its_bound_of_messages_in_flight_included() -> None:
    queue = queue_of(max_messages=2)
    publish(queue, "a", "b")
    queue.lease(1, None, 0.0)
    with pytest.raises(QueueFull):
        queue.publish(message("c"), 0.0)
    queue.ack("a", None, 0.0)
    publish(queue, "c")


def test_queue_is_full_at_its_bound_of_bytes() -> None:
    size = message("a").size
    assert size == len("a" + "key" + "p") + 1 + OVERHEAD_BYTES
    queue = queue_of(max_bytes=2 * size)
    publish(queue, "a", "b")
    with pytest.raises(QueueFull):
        queue.publish(message("c"), 0.0)
    assert queue.held_bytes == 2 * size


def test_message_larger_than_the_whole_queue_is_refused_for_good() -> None:
    queue = queue_of(max_bytes=1000)
    with pytest.raises(PayloadTooLarge, match="queue-max-bytes"):
        queue.publish(message("a", b"x" * 1000), 0.0)


def test_lease_stops_at_max_bytes_but_gives_at_least_one() -> None:
    queue = queue_of()
    for id_ in "abc":
        queue.publish(message(id_, b"x" * 99), 0.0)
    assert [d.message.id for d in queue.lease(9, 1, 0.0)] == ["a"]
    assert [d.message.id for d in queue.lease(9, 200, 0.0)] == ["b", "c"]


def test_give_back_counts_no_attempt_and_forgives_a_lease_that_ran_out() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a")
    (delivery,) = queue.lease(1, None, 0.0)
    queue.give_back("a", delivery.lease, 1.0)
    (again,) = queue.lease(1, None, 2.0)
    assert again.attempts == 1
    queue.give_back("a", delivery.lease, 3.0)
    assert queue.in_flight == 1
    queue.give_back("gone", "lease", 3.0)


def test_closed_queue_refuses_publishes_and_is_emptied_by_consumers() -> None:
    queue = queue_of(visibility_timeout_s=10.0)
    publish(queue, "a")
    queue.close()
    with pytest.raises(QueueClosed):
        queue.publish(message("b"), 0.0)
    assert leased_ids(queue) == ["a"]
    assert queue.lease(1, None, 1.0) == []
    queue.expire(10.0)
    assert leased_ids(queue, now=10.0) == ["a"]
    queue.ack("a", None, 11.0)
    with pytest.raises(QueueClosed):
        queue.lease(1, None, 12.0)


def test_history_is_bounded_and_counted() -> None:
    queue = queue_of(max_attempts=1000)
    publish(queue, "a")
    before = queue.held_bytes
    for n in range(50):
        queue.lease(1, None, 0.0)
        queue.nack("a", None, 0.0, reason=f"{n}" * 5000)
    held = queue.oldest_ready()
    assert held is not None
    assert len(held.history) == HISTORY_LENGTH
    assert before < queue.held_bytes < before + HISTORY_LENGTH * 400
    queue.lease(1, None, 0.0)
    queue.ack("a", None, 0.0)
    assert queue.held_bytes == 0
