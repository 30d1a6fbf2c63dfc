"""Dead letters keep a share of the room; beyond it, the oldest give way to new messages."""

import pytest

from gputel.errors import PayloadTooLarge, QueueFull
from gputel.mq.core.queue import MessageQueue
from tests.helpers.queues import leased_ids, message, queue_of


def kill(queue: MessageQueue, *ids: str, size: int = 1) -> None:
    """Publish messages, and make each a dead letter."""
    for id_ in ids:
        assert queue.publish(message(id_, b"x" * size), 0.0) is None
    for delivery in queue.lease(len(ids), None, 0.0):
        queue.nack(delivery.message.id, delivery.lease, 0.0, dead=True)


def test_a_queue_full_of_dead_letters_takes_what_is_new_and_drops_the_oldest() -> None:
    queue = queue_of(max_messages=8)
    kill(queue, *"abcdefgh")
    for id_ in "123456":
        assert queue.publish(message(id_), 0.0) is None
    assert queue.dead_letters.ids() == ["g", "h"]  # their share, a quarter
    with pytest.raises(QueueFull, match="2 of them are dead letters"):
        queue.publish(message("7"), 0.0)
    assert queue.counters.dead_dropped == 6
    assert leased_ids(queue) == list("123456")
    assert queue.held_bytes == sum(held.size for held in queue._messages.values())


def test_dead_letters_are_all_kept_while_nobody_needs_their_room() -> None:
    queue = queue_of(max_messages=8)
    kill(queue, *"abcdefg")
    assert queue.publish(message("1"), 0.0) is None
    assert len(queue.dead_letters) == 7
    assert queue.surplus_of_dead_letters == (5, 0)


def test_dead_letters_give_way_in_bytes_as_well() -> None:
    queue = queue_of(max_bytes=100_000)
    kill(queue, *"abc", size=30_000)
    assert queue.publish(message("1", b"x" * 35_000), 0.0) is None
    assert queue.dead_letters.ids() == ["b", "c"]
    assert queue.publish(message("2", b"x" * 20_000), 0.0) is None
    assert queue.dead_letters.ids() == ["c"]


def test_nothing_is_dropped_for_a_message_that_has_no_room_all_the_same() -> None:
    queue = queue_of(max_bytes=100_000)
    kill(queue, *"abc", size=20_000)
    assert queue.publish(message("1", b"x" * 30_000), 0.0) is None
    with pytest.raises(QueueFull):
        queue.publish(message("2", b"x" * 60_000), 0.0)
    with pytest.raises(PayloadTooLarge):
        queue.publish(message("3", b"x" * 100_000), 0.0)
    assert queue.dead_letters.ids() == ["a", "b", "c"]


def test_a_share_of_all_drops_none() -> None:
    queue = queue_of(max_messages=2, dead_letters_share=1.0)
    kill(queue, "a", "b")
    with pytest.raises(QueueFull, match="dead letters"):
        queue.publish(message("1"), 0.0)
    queue.purge("a")
    assert queue.publish(message("1"), 0.0) is None


def test_a_dropped_id_can_be_published_again() -> None:
    queue = queue_of(max_messages=1)
    kill(queue, "a")
    assert queue.publish(message("b"), 0.0) is None
    queue.ack("b", queue.lease(1, None, 0.0)[0].lease, 0.0)
    assert queue.publish(message("a"), 0.0) is None
