"""The message queue itself: pure and synchronous, with the time as an argument.

A published message is ready, then in flight while a consumer holds a lease on it, and leaves by
ack. A lease that runs out, or a nack, makes it ready again in its old place; after
``max_attempts`` deliveries it becomes a dead letter. ``docs/protocol.md`` has the picture.

Everything held counts against both bounds, in flight and dead letters included. Always
``published == acked + purged + ready + delayed + in_flight + dead``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gputel.errors import PayloadTooLarge, QueueClosed, QueueFull, StaleLease, UnknownMessage
from gputel.mq.counters import Counters, QueueLimits
from gputel.mq.dead_letters import DeadLetters
from gputel.mq.in_flight import Deadlines
from gputel.mq.message import REASON_LENGTH, Delivery, Failure, Message, State
from gputel.mq.ready import ReadyLine

__all__ = ["Counters", "MessageQueue", "QueueLimits"]


@dataclass
class MessageQueue:
    """A bounded queue in the order of publishing. ``now`` is always monotonic seconds.

    ``lease_prefix`` starts every lease: give each queue another one, so that no lease outlives
    the process that gave it. Not safe to call from several threads at once.
    """

    limits: QueueLimits = field(default_factory=QueueLimits)
    lease_prefix: str = ""
    counters: Counters = field(default_factory=Counters)
    closed: bool = False
    held_bytes: int = 0

    def __post_init__(self) -> None:
        self.dead_letters = DeadLetters()
        self._held: dict[str, Message] = {}
        self._ready = ReadyLine()
        self._deadlines = Deadlines()
        self._delayed = 0

    # ------------------------------------------------------------------ what it holds

    def __len__(self) -> int:
        """Messages held, in whatever state."""
        return len(self._held)

    @property
    def ready(self) -> int:
        """Messages that a consumer would get now."""
        return len(self._ready)

    @property
    def delayed(self) -> int:
        """Messages that become ready when their time comes."""
        return self._delayed

    @property
    def in_flight(self) -> int:
        """Messages leased to consumers."""
        return len(self._deadlines) - self._delayed

    @property
    def drained(self) -> bool:
        """Whether nothing is left that a consumer could get, now or later."""
        return not self._ready and not self._deadlines

    def state_of(self, id_: str) -> State | None:
        """The state that the message of this id is held in; None: it is not held."""
        message = self._held.get(id_)
        return message.state if message else None

    def oldest_ready(self) -> Message | None:
        """The message that would be delivered next, or None."""
        return self._ready.first()

    def next_deadline(self) -> float | None:
        """When ``expire`` has work to do next, or None."""
        return self._deadlines.next_deadline()

    # ------------------------------------------------------------------ producers

    def publish(self, message: Message, now: float) -> State | None:
        """Take a message. Gives None, or for an id already held the state it is held in.

        Raises QueueClosed; PayloadTooLarge for what can never fit; QueueFull when there is no
        room now. Nothing has changed then.
        """
        if self.closed:
            raise QueueClosed("the queue is closed: it takes no more messages")
        held = self._held.get(message.id)
        if held is not None:
            self.counters.duplicates += 1
            return held.state
        self.check_size(message)
        if not self._has_room_for(message):
            raise self.full_error()
        self._held[message.id] = message
        self.held_bytes += message.size
        message.since = now
        self._ready.append(message)
        self.counters.published += 1
        return None

    def check_size(self, message: Message) -> None:
        """Raise PayloadTooLarge for a message that would not fit an empty queue."""
        if message.size > self.limits.max_bytes:
            raise PayloadTooLarge(
                f"message {message.id} counts {message.size} bytes, more than the whole queue "
                f"may hold: {self.limits.max_bytes} (--queue-max-bytes)"
            )

    def full_error(self) -> QueueFull:
        """The refusal of a full queue; it tells what fills it."""
        dead = len(self.dead_letters)
        hint = f"; {dead} of them are dead letters: replay or purge them" if dead else ""
        return QueueFull(
            f"the queue is full, {len(self._held)} messages and {self.held_bytes} bytes{hint}; "
            "publish again later"
        )

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
        if self.closed and self.drained:
            raise QueueClosed("the queue is closed, and nothing is left in it")
        timeout_s = visibility_timeout_s or self.limits.visibility_timeout_s
        deliveries: list[Delivery] = []
        room = max_bytes
        while len(deliveries) < max_messages and (message := self._ready.first()) is not None:
            if room is not None:
                room -= message.content_bytes
                if room < 0 and deliveries:
                    break
            self._ready.pop()
            deliveries.append(self._deliver(message, now + timeout_s))
        return deliveries

    def ack(self, id_: str, lease: str | None, now: float) -> None:
        """Drop a message that was processed. Without a lease, whichever delivery is in flight.

        Raises UnknownMessage, or StaleLease when it is in flight under another lease or not at
        all.
        """
        message = self._leased(id_, lease, now)
        self._deadlines.remove(message)
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
        self._deadlines.remove(message)
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
        self._deadlines.remove(message)
        message.attempts -= 1
        self._ready.put_back(message)

    def extend(
        self, id_: str, lease: str | None, now: float, visibility_timeout_s: float | None = None
    ) -> None:
        """Let the lease run out ``visibility_timeout_s`` from now. Raises as ack does."""
        message = self._leased(id_, lease, now)
        timeout_s = visibility_timeout_s or self.limits.visibility_timeout_s
        self._deadlines.move(message, now + timeout_s)

    def expire(self, now: float) -> float | None:
        """Do what is due: take back leases that ran out, end delays. Gives the next deadline."""
        for message in self._deadlines.pop_due(now):
            if message.state is State.DELAYED:
                self._delayed -= 1
                self._ready.put_back(message)
            else:
                self.counters.expired += 1
                self._fail(message, now, "the lease ran out")
        return self._deadlines.next_deadline()

    # ------------------------------------------------------------------ dead letters

    def replay(self, id_: str) -> None:
        """Make a dead letter ready again, behind all others and with its attempts back at 0.

        Raises UnknownMessage, or QueueClosed.
        """
        if self.closed:
            raise QueueClosed("the queue is closed: dead letters cannot be replayed")
        message = self.dead_letters.take(id_)
        message.attempts = 0
        self._ready.append(message)
        self.counters.replayed += 1

    def purge(self, id_: str) -> None:
        """Drop a dead letter for good. Raises UnknownMessage."""
        self._forget(self.dead_letters.take(id_))
        self.counters.purged += 1

    # ------------------------------------------------------------------ inside

    def _has_room_for(self, message: Message) -> bool:
        limits = self.limits
        return (
            len(self._held) < limits.max_messages
            and self.held_bytes + message.size <= limits.max_bytes
        )

    def _deliver(self, message: Message, deadline: float) -> Delivery:
        serial = self._deadlines.add(message, deadline)
        message.state = State.IN_FLIGHT
        message.lease = f"{self.lease_prefix}{serial:x}"
        message.attempts += 1
        self.counters.delivered += 1
        if message.attempts > 1:
            self.counters.redelivered += 1
        return Delivery(message, message.lease, message.attempts)

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
        elif delay_s > 0:
            message.state = State.DELAYED
            message.lease = ""
            self._deadlines.add(message, now + delay_s)
            self._delayed += 1
        else:
            self._ready.put_back(message)

    def _bury(self, message: Message, now: float) -> None:
        message.state = State.DEAD
        message.lease = ""
        message.since = now
        self.dead_letters.add(message)
        self.counters.dead_lettered += 1

    def _forget(self, message: Message) -> None:
        del self._held[message.id]
        self.held_bytes -= message.size
