"""The message queue itself: pure and synchronous, with the time as an argument.

A published message is ready, then in flight while a consumer holds a lease on it, and leaves by
ack. A lease that runs out, or a nack, makes it ready again in its old place; after
``max_attempts`` deliveries it becomes a dead letter. One whose time to live is over is dropped
when it is neither in flight nor dead. ``docs/protocol.md`` has the picture.

Everything held counts against both bounds, in flight and dead letters included. Always
``published == acked + purged + expired + ready + delayed + in_flight + dead``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gputel.errors import QueueClosed, QueueNotEmpty
from gputel.mq.core.counters import Counters, QueueLimits
from gputel.mq.core.keyed import KeyedLine
from gputel.mq.core.leases import Leases
from gputel.mq.core.message import NEVER, Message, State
from gputel.mq.core.ready import ReadyLine

__all__ = ["Counters", "MessageQueue", "QueueLimits"]


@dataclass
class MessageQueue(Leases):
    """A bounded queue in the order of publishing. ``now`` is always monotonic seconds.

    ``lease_prefix`` starts every lease: give each queue another one, so that no lease outlives
    the process that gave it. With ``ordered_keys``, messages of one key are delivered in the order
    of publishing, and one only when all before it were acked, are dead letters, or expired. Not
    safe to call from several threads at once.
    """

    # ------------------------------------------------------------------ what it holds

    def oldest_ready(self) -> Message | None:
        """The message that would be delivered next, or None."""
        return self._ready.first()

    def peek(self, most: int) -> list[Message]:
        """The messages that would be delivered next, at most so many; nothing is changed.

        In the order of delivery, as it is now; without those that are ``blocked``.
        """
        return self._ready.peek(most)

    def order_keys(self, ordered: bool) -> None:
        """Set ``ordered_keys``. Raises QueueNotEmpty when it would change for messages held."""
        if ordered == self.ordered_keys:
            return
        if not self.drained:
            raise QueueNotEmpty("ordered_keys can be changed only while no messages wait for it")
        self.ordered_keys = ordered
        self._ready = KeyedLine() if ordered else ReadyLine()

    # ------------------------------------------------------------------ producers

    def publish(self, message: Message, now: float) -> State | None:
        """Take a message. Gives None, or for an id already held the state it is held in.

        Raises QueueClosed; PayloadTooLarge for what can never fit; QueueFull when there is no
        room now. Nothing has changed then.
        """
        if self.closed:
            raise QueueClosed("the queue is closed: it takes no more messages")
        held, limits = self._held, self.limits
        same = held.get(message.id)
        if same is not None:
            self.counters.duplicates += 1
            return same.state
        held_bytes = self.held_bytes + message.size
        if held_bytes > self.ceiling or len(held) >= limits.max_messages:
            self.check_sizes([message])
            raise self.full_error()
        held[message.id] = message
        self.held_bytes = held_bytes
        self.counters.published += 1
        message.since = now
        if message.ttl_s:
            message.expires_at = now + message.ttl_s
        if message.delay_s:
            self._ready.number(message)
            self._delay(message, now + message.delay_s)
            return None
        self._ready.append(message)
        if message.ttl_s:
            self._deadlines.add(message, message.expires_at)
        return None

    def close(self) -> None:
        """Take no more messages; those held can still be consumed and acked."""
        self.closed = True

    # ------------------------------------------------------------------ dead letters

    def replay(self, id_: str) -> None:
        """Make a dead letter ready again, behind all others and with its attempts back at 0.

        It has no time to live any more: someone asked for it. Raises UnknownMessage, or
        QueueClosed.
        """
        if self.closed:
            raise QueueClosed("the queue is closed: dead letters cannot be replayed")
        message = self.dead_letters.take(id_)
        message.attempts = 0
        message.expires_at = NEVER
        self._ready.append(message)
        self.counters.replayed += 1

    def purge(self, id_: str) -> None:
        """Drop a dead letter for good. Raises UnknownMessage."""
        self._forget(self.dead_letters.take(id_))
        self.counters.purged += 1

    def clear(self) -> list[Message]:
        """Drop all messages for good, in whatever state; gives them.

        Letting go of many takes long: give them to ``let_go`` in parts.
        """
        messages = list(self._held.values())
        self._held = {}
        self.held_bytes = 0
        self.counters.purged += len(messages)
        self._ready = KeyedLine() if self.ordered_keys else ReadyLine()
        self._deadlines.clear()
        self.dead_letters.clear()
        self._delayed = self._in_flight = 0
        return messages

    def let_go(self, messages: Sequence[Message]) -> None:
        """Forget what ``clear`` gave."""
