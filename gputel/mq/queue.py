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
from itertools import islice

from gputel.errors import QueueClosed, QueueNotEmpty, StaleLease, UnknownMessage
from gputel.mq.counters import Counters, QueueLimits
from gputel.mq.hold import Hold
from gputel.mq.in_flight import Deadlines
from gputel.mq.keyed import KeyedLine
from gputel.mq.message import NEVER, REASON_LENGTH, Delivery, Failure, Message, State
from gputel.mq.ready import ReadyLine

_MOST_DUE = 5_000

__all__ = ["Counters", "MessageQueue", "QueueLimits"]


@dataclass
class MessageQueue(Hold):
    """A bounded queue in the order of publishing. ``now`` is always monotonic seconds.

    ``lease_prefix`` starts every lease: give each queue another one, so that no lease outlives
    the process that gave it. With ``ordered_keys``, messages of one key are delivered in the order
    of publishing, and one only when all before it were acked, are dead letters, or expired. Not
    safe to call from several threads at once.
    """

    ordered_keys: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ready: ReadyLine = KeyedLine() if self.ordered_keys else ReadyLine()
        self._deadlines = Deadlines()
        self._delayed = 0
        self._in_flight = 0

    # ------------------------------------------------------------------ what it holds

    @property
    def ready(self) -> int:
        """Messages that are ready, those that are ``blocked`` included."""
        return len(self._ready)

    @property
    def blocked(self) -> int:
        """Ready messages that wait behind another of their key."""
        return self._ready.blocked

    @property
    def delayed(self) -> int:
        """Messages that become ready when their time comes."""
        return self._delayed

    @property
    def in_flight(self) -> int:
        """Messages leased to consumers."""
        return self._in_flight

    def oldest_ready(self) -> Message | None:
        """The message that would be delivered next, or None."""
        return self._ready.first()

    def peek(self, most: int) -> list[Message]:
        """The messages that would be delivered next, at most so many; nothing is changed.

        In the order of delivery, as it is now; without those that are ``blocked``.
        """
        return self._ready.peek(most)

    def next_deadline(self) -> float | None:
        """When ``expire`` has work to do next, or None."""
        return self._deadlines.next_deadline()

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
        if held_bytes > limits.max_bytes or len(held) >= limits.max_messages:
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

    # ------------------------------------------------------------------ consumers

    def lease(
        self,
        max_messages: int,
        max_bytes: int | None,
        now: float,
        visibility_timeout_s: float | None = None,
    ) -> list[Delivery]:
        """Lease the oldest ready messages, as many as both bounds allow.

        A first message is given whatever its size. Raises QueueClosed once the queue is closed
        and nothing is left to wait for.
        """
        due = self._deadlines.next_deadline()
        if due is not None and due <= now:
            self.expire(now)
        if self.closed and self.drained:
            raise QueueClosed("the queue is closed, and nothing is left in it")
        deadline = now + (visibility_timeout_s or self.limits.visibility_timeout_s)
        looked_at = 0
        while taken := self._ready.take(max_messages, max_bytes):
            deliveries = self._deliver(taken, now, deadline)
            looked_at += len(taken)
            if deliveries or looked_at >= _MOST_DUE:  # else all of them had expired
                return deliveries
        return []

    def ack(self, id_: str, lease: str | None, now: float) -> None:
        """Drop a message that was processed. Without a lease, whichever delivery is in flight.

        Raises UnknownMessage, or StaleLease when it is in flight under another lease or not at
        all.
        """
        message = self._leased(id_, lease, now)
        self.work.add(now - message.delivered_at)
        self._deadlines.remove(message)
        self._in_flight -= 1
        if self.ordered_keys:
            self._ready.left(message)
        self._forget(message)
        self.counters.acked += 1

    def nack(
        self,
        id_: str,
        lease: str | None,
        now: float,
        *,
        delay_s: float = 0.0,
        reason: str = "",
        dead: bool = False,
    ) -> None:
        """Give a message back: ready in its old place, at once or after ``delay_s``.

        With ``dead``, or after its last attempt, it becomes a dead letter. Raises as ack does.
        """
        message = self._leased(id_, lease, now)
        self._end_lease(message)
        self.counters.nacked += 1
        self._fail(message, now, reason or "nacked", delay_s=delay_s, dead=dead)

    def give_back(self, id_: str, lease: str, now: float) -> None:
        """Undo a delivery that never left: ready in its old place, the attempt not counted.

        A lease that ran out meanwhile is no error: the queue took the message back itself.
        """
        try:
            message = self._leased(id_, lease, now)
        except (StaleLease, UnknownMessage):
            return
        self._end_lease(message)
        message.attempts -= 1
        self._come_back(message, now)

    def extend(
        self, id_: str, lease: str | None, now: float, visibility_timeout_s: float | None = None
    ) -> None:
        """Let the lease run out ``visibility_timeout_s`` from now. Raises as ack does."""
        message = self._leased(id_, lease, now)
        timeout_s = visibility_timeout_s or self.limits.visibility_timeout_s
        self._deadlines.move(message, now + timeout_s)

    def expire(self, now: float) -> float | None:
        """Do what is due: end leases, delays and lives. Gives the next deadline.

        What is much is done in parts, so that nobody waits long for it: the next deadline is then
        one that has passed.
        """
        for message in islice(self._deadlines.pop_due(now), _MOST_DUE):
            if message.state is State.IN_FLIGHT:
                self._in_flight -= 1
                self.counters.lease_timeouts += 1
                self._fail(message, now, "the lease ran out")
            elif message.state is State.DELAYED:
                self._delayed -= 1
                self._come_back(message, now)
            else:
                self._drop(message)
        return self._deadlines.next_deadline()

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

    # ------------------------------------------------------------------ inside

    def _deliver(self, messages: Sequence[Message], now: float, deadline: float) -> list[Delivery]:
        prefix, watch, waited = self.lease_prefix, self._deadlines.add, self.waits.add
        deliveries: list[Delivery] = []
        for message in messages:
            if message.timer:
                self._deadlines.remove(message)
                if message.expires_at <= now:
                    self._ready.left(message)
                    self._forget(message)
                    self.counters.expired += 1
                    continue
            attempts = message.attempts = message.attempts + 1
            if attempts > 1:
                self.counters.redelivered += 1
            elif not message.history:  # a replayed one has a history
                waited(now - message.since - message.delay_s)
            lease = message.lease = f"{prefix}{watch(message, deadline):x}"
            message.state = State.IN_FLIGHT
            message.delivered_at = now
            deliveries.append(Delivery(message, lease, attempts))
        self._in_flight += len(deliveries)
        self.counters.delivered += len(deliveries)
        return deliveries

    def _leased(self, id_: str, lease: str | None, now: float) -> Message:
        message = self._held.get(id_)
        if message is None:
            raise UnknownMessage(f"no message {id_} is held: it was acked, or never published")
        if message.state is not State.IN_FLIGHT or message.deadline <= now:
            raise StaleLease(f"message {id_} is not leased now: it is {self._where(message)}")
        if lease is not None and lease != message.lease:
            raise StaleLease(f"message {id_} is in flight under another lease")
        return message

    def _where(self, message: Message) -> str:
        return "ready again" if message.state is State.IN_FLIGHT else message.state.value

    def _fail(
        self, message: Message, now: float, reason: str, *, delay_s: float = 0.0, dead: bool = False
    ) -> None:
        before = message.size
        message.remember(Failure(message.attempts, now, reason[:REASON_LENGTH]))
        self.held_bytes += message.size - before
        if dead or message.attempts >= self.limits.max_attempts:
            self._bury(message, now)
        elif delay_s > 0 and message.expires_at > now:
            self._delay(message, now + delay_s)
        else:
            self._come_back(message, now)

    def _delay(self, message: Message, until: float) -> None:
        message.state = State.DELAYED
        message.lease = ""
        self._deadlines.add(message, min(until, message.expires_at))
        self._delayed += 1

    def _come_back(self, message: Message, now: float) -> None:
        if message.expires_at <= now:
            self._drop(message)
        else:
            self._ready.put_back(message)
            self._watch_ready(message)

    def _watch_ready(self, message: Message) -> None:
        if message.expires_at < NEVER:
            self._deadlines.add(message, message.expires_at)

    def _drop(self, message: Message) -> None:
        if message.state is State.READY:
            self._ready.discard(message)
        else:
            self._ready.left(message)
        self._forget(message)
        self.counters.expired += 1

    def _end_lease(self, message: Message) -> None:
        self._deadlines.remove(message)
        self._in_flight -= 1

    def _bury(self, message: Message, now: float) -> None:
        message.state = State.DEAD
        message.lease = ""
        message.since = now
        self._ready.left(message)
        self.dead_letters.add(message)
        self.counters.dead_lettered += 1
