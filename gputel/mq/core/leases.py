"""Deliveries of the messages that a queue holds: leased, and back or out by ack, nack or time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from gputel.errors import QueueClosed, StaleLease, UnknownMessage
from gputel.mq.core.deadlines import Deadlines
from gputel.mq.core.hold import Hold
from gputel.mq.core.keyed import KeyedLine
from gputel.mq.core.message import (
    NEVER,
    REASON_LENGTH,
    SHORT_REASON_LENGTH,
    Delivery,
    Failure,
    Message,
    State,
)
from gputel.mq.core.ready import ReadyLine

_MOST_DUE = 5_000


@dataclass
class Leases(Hold):
    """Messages in line, those in flight, and those that wait for a time.

    ``_deliver``, ``_bury`` and ``_forget`` see all that is delivered, dies and ends: a queue that
    writes that down extends them.
    """

    ordered_keys: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ready: ReadyLine = KeyedLine() if self.ordered_keys else ReadyLine()
        self._deadlines = Deadlines()
        self._delayed = 0
        self._in_flight = 0

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

    def next_deadline(self) -> float | None:
        """When ``expire`` has work to do next, or None."""
        return self._deadlines.next_deadline()

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
        # Histories grow without a publish that could be refused: in a full queue they do not.
        full = self.held_bytes >= self.ceiling
        reason = reason[: SHORT_REASON_LENGTH if full else REASON_LENGTH]
        message.remember(Failure(message.attempts, now, reason), alone=full)
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
