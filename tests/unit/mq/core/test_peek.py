"""A look at the messages that are next, which changes nothing."""

import random

from gputel.mq.core.message import State
from gputel.mq.core.queue import MessageQueue
from tests.helpers.queues import message, queue_of


def queue_with(*ids: str, ordered_keys: bool = False) -> MessageQueue:
    queue = queue_of(ordered_keys=ordered_keys)
    for id_ in ids:
        queue.publish(message(id_), 0.0)
    return queue


def peeked(queue: MessageQueue, most: int = 1000) -> list[str]:
    return [message.id for message in queue.peek(most)]


def test_messages_stay_ready_and_uncounted() -> None:
    queue = queue_with("a", "b", "c")
    assert peeked(queue, 2) == peeked(queue, 2) == ["a", "b"]
    assert [m.state for m in queue.peek(9)] == [State.READY] * 3
    assert (queue.ready, queue.counters.delivered, queue.next_deadline()) == (3, 0, None)
    assert [d.message.id for d in queue.lease(9, None, 0.0)] == ["a", "b", "c"]
    assert peeked(queue) == []


def test_those_that_came_back_stand_where_they_will_be_delivered() -> None:
    queue = queue_with(*(str(n) for n in range(300)))
    chance = random.Random(7)
    taken = queue.lease(200, None, 0.0)
    chance.shuffle(taken)
    for delivery in taken[:120]:
        queue.nack(delivery.message.id, delivery.lease, 1.0)
    for most in (1, 50, 150, 1000):
        expected = sorted(int(d.message.id) for d in taken[:120]) + list(range(200, 300))
        assert peeked(queue, most) == [str(n) for n in expected[:most]]
    shown = peeked(queue)
    assert [d.message.id for d in queue.lease(1000, None, 2.0)] == shown


def test_expired_messages_are_not_shown() -> None:
    queue = queue_with("a")
    for id_, ttl_s in (("b", 1.0), ("c", 0.0), ("d", 1.0), ("e", 0.0)):
        queue.publish(message(id_, ttl_s=ttl_s), 0.0)
    queue.expire(2.0)
    assert peeked(queue) == ["a", "c", "e"]


def test_messages_behind_another_of_their_key_are_not_shown() -> None:
    queue = queue_with("a", "b", ordered_keys=True)
    queue.publish(message("c", key="other"), 0.0)
    assert peeked(queue) == ["a", "c"]
