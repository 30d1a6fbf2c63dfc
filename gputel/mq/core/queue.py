"""The message queue: one state machine, pure and synchronous, with the time as an argument.

A published message is ready. A consumer leases it, and it is in flight until its ack removes it.
If the lease runs out, or the consumer nacks it, the message is ready again in its old place; after
``max_attempts`` deliveries it becomes a dead letter. A message whose time to live is over is
dropped, unless it is in flight or dead. ``docs/protocol.md`` has the picture.

Every message counts against both bounds until it is gone, in flight and dead letters included.
Dead letters have a share of the room for themselves. Beyond it they stay as long as nobody needs
the room, and then the oldest ones are dropped for a publish. So they never stop publishers. Always
``published == acked + purged + expired + dead_dropped + ready + delayed + in_flight + dead``.

The methods stand in the order of a message's life: publish, lease, extend, ack, nack, give back,
expire, then dead letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from gputel.errors import (
    PayloadTooLarge,
    QueueClosed,
    QueueFull,
    QueueNotEmpty,
    StaleLease,
    UnknownMessage,
)
from gputel.mq.core.counters import Counters, Latency
from gputel.mq.core.dead_letters import DeadLetters
from gputel.mq.core.deadlines import Deadlines
from gputel.mq.core.keyed import KeyedLine
from gputel.mq.core.message import (
    NEVER,
    REASON_LENGTH,
    SHORT_REASON_LENGTH,
    Failure,
    LeasedMessage,
    QueuedMessage,
    State,
)
from gputel.mq.core.ready import ReadyLine

_MOST_AT_ONCE = 5_000
"""Messages that one call expires at most, so that other work need not wait long."""


@dataclass(frozen=True)
class QueueLimits:
    """The bounds of a queue, and the defaults for a consumer that names no others."""

    max_messages: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    visibility_timeout_s: float = 30.0
    max_attempts: int = 16
    dead_letters_share: float = 0.25  # of both bounds


@dataclass
class MessageQueue:
    """A bounded queue in the order of publishing. ``now`` is always monotonic seconds.

    Every lease starts with ``lease_prefix``. Give each queue a different prefix, so that a lease
    is never valid after a restart. With ``ordered_keys``, messages of one key are delivered in the
    order of publishing, and each only when all before it were acked, are dead letters, or expired.
    Not safe to call from several threads at once.

    ``_deliver``, ``_bury`` and ``_forget`` see every delivery, every death and every end: a
    subclass that records them (the journal's) extends these three.
    """

    limits: QueueLimits = field(default_factory=QueueLimits)
    lease_prefix: str = ""
    counters: Counters = field(default_factory=Counters)
    closed: bool = False
    held_bytes: int = 0
    ordered_keys: bool = False

    def __post_init__(self) -> None:
        self.ceiling = self.limits.max_bytes
        """Most bytes that it may hold now: below its limit when other queues use the room."""
        self.waits = Latency()
        """Seconds from the publish, or the end of its delay, to the first delivery."""
        self.work = Latency()
        """Seconds from a delivery to its ack."""
        self.dead_letters = DeadLetters()
        self._messages: dict[str, QueuedMessage] = {}
        self._ready: ReadyLine = KeyedLine() if self.ordered_keys else ReadyLine()
        self._deadlines = Deadlines()
        self._delayed = 0
        self._in_flight = 0

    # ------------------------------------------------------------------ what it holds

    def __len__(self) -> int:
        """Messages in any state."""
        return len(self._messages)

    @property
    def ready(self) -> int:
        """Messages that are ready, those that are ``blocked`` included."""
        return len(self._ready)

    @property
    def blocked(self) -> int:
        """Ready messages that wait behind another message of their key."""
        return self._ready.blocked

    @property
    def delayed(self) -> int:
        """Messages that become ready later, when their delay ends."""
        return self._delayed

    @property
    def in_flight(self) -> int:
        """Messages leased to consumers."""
        return self._in_flight

    @property
    def drained(self) -> bool:
        """Whether no message is left that a consumer could get, now or later."""
        return len(self._messages) == len(self.dead_letters)

    def state_of(self, id_: str) -> State | None:
        """The state of the message with this id; None when the queue does not hold it."""
        message = self._messages.get(id_)
        return message.state if message else None

    def oldest_ready(self) -> QueuedMessage | None:
        """The message that would be delivered next, or None."""
        return self._ready.first()

    def peek(self, most: int) -> list[QueuedMessage]:
        """The next messages, at most ``most``, in the order of delivery; changes nothing.

        Messages that are ``blocked`` are left out.
        """
        return self._ready.peek(most)

    def next_deadline(self) -> float | None:
        """When ``expire`` has work to do next, or None."""
        return self._deadlines.next_deadline()

    def order_keys(self, ordered: bool) -> None:
        """Set ``ordered_keys``. Raises QueueNotEmpty when messages wait and it would change."""
        if ordered == self.ordered_keys:
            return
        if not self.drained:
            raise QueueNotEmpty("ordered_keys can be changed only while no messages wait for it")
        self.ordered_keys = ordered
        self._ready = KeyedLine() if ordered else ReadyLine()

    # ------------------------------------------------------------------ publish

    def publish(self, message: QueuedMessage, now: float) -> State | None:
        """Accept a message. Returns None, or the state of the message that has this id already.

        Raises QueueClosed; PayloadTooLarge for a message that can never fit; QueueFull when there
        is no room now. After an error the queue is unchanged.
        """
        if self.closed:
            raise QueueClosed("the queue is closed: it accepts no more messages")
        messages, limits = self._messages, self.limits
        same = messages.get(message.id)
        if same is not None:
            self.counters.duplicates += 1
            return same.state
        held_bytes = self.held_bytes + message.size
        if held_bytes > self.ceiling or len(messages) >= limits.max_messages:
            self.check_sizes([message])
            if not self._make_room(message.size):
                raise self.full_error()
            held_bytes = self.held_bytes + message.size
        messages[message.id] = message
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

    def check_sizes(self, messages: Iterable[QueuedMessage]) -> None:
        """Raise PayloadTooLarge for a message that would not fit into an empty queue."""
        most = self.limits.max_bytes
        for message in messages:
            if message.size > most:
                raise PayloadTooLarge(
                    f"message {message.id} counts {message.size} bytes, more than the whole queue "
                    f"may hold: {most} (--queue-max-bytes, --broker-max-bytes)"
                )

    @property
    def surplus_of_dead_letters(self) -> tuple[int, int]:
        """How many dead letters, and bytes of them, there are beyond their share; 0 or more."""
        letters, limits = self.dead_letters, self.limits
        share = limits.dead_letters_share
        surplus = len(letters) - int(share * limits.max_messages)
        surplus_bytes = letters.bytes - int(share * limits.max_bytes)
        return max(0, surplus), max(0, surplus_bytes)

    def _make_room(self, size: int) -> bool:
        """Drop the oldest dead letters for a message; does nothing if their surplus is too small.

        Returns whether there is room now.
        """
        lacking = len(self._messages) + 1 - self.limits.max_messages
        lacking_bytes = self.held_bytes + size - self.ceiling
        surplus, surplus_bytes = self.surplus_of_dead_letters
        if lacking > surplus or lacking_bytes > surplus_bytes:
            return False
        while lacking > 0 or lacking_bytes > 0:
            lacking -= 1
            lacking_bytes -= self.drop_oldest_dead_letter()
        return True

    def drop_oldest_dead_letter(self) -> int:
        """Drop one to make room; there must be one. Returns its size."""
        message = self.dead_letters.take_oldest()
        self._forget(message)
        self.counters.dead_dropped += 1
        return message.size

    def full_error(self) -> QueueFull:
        """The error of a full queue; its text says what fills the queue."""
        short = self.ceiling < self.limits.max_bytes
        if short and len(self._messages) < self.limits.max_messages:
            return QueueFull(
                "the broker's queues together have their maximum of bytes (--broker-max-bytes), "
                f"{self.held_bytes} of them in this queue: publish again later, "
                "or see with GET /queues what fills them"
            )
        dead = len(self.dead_letters)
        hint = f"; {dead} of them are dead letters: replay or purge them" if dead else ""
        return QueueFull(
            f"the queue is full, {len(self._messages)} messages and {self.held_bytes} bytes{hint}; "
            "publish again later"
        )

    def close(self) -> None:
        """Accept no more messages; consumers can still lease and ack those in the queue."""
        self.closed = True

    # ------------------------------------------------------------------ lease, extend, ack, nack

    def lease(
        self,
        max_messages: int,
        max_bytes: int | None,
        now: float,
        visibility_timeout_s: float | None = None,
    ) -> list[LeasedMessage]:
        """Lease the oldest ready messages, as many as both bounds allow.

        The first message is leased whatever its size. Raises QueueClosed once the queue is closed
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
            if deliveries or looked_at >= _MOST_AT_ONCE:  # else all of them had expired
                return deliveries
        return []

    def extend(
        self, id_: str, lease: str | None, now: float, visibility_timeout_s: float | None = None
    ) -> None:
        """Let the lease run out ``visibility_timeout_s`` from now. Without a lease, any one does.

        Raises UnknownMessage when the message is gone, or StaleLease when it is in flight under
        another lease or not in flight.
        """
        message = self._leased(id_, lease, now)
        timeout_s = visibility_timeout_s or self.limits.visibility_timeout_s
        self._deadlines.move(message, now + timeout_s)

    def ack(self, id_: str, lease: str | None, now: float) -> None:
        """Remove a message that was processed; does nothing when it is gone.

        Without a lease, every delivery of it counts, also one whose lease ran out: then the
        message is not delivered again. A message that was never delivered stays, and so does a
        dead letter. Raises StaleLease for a lease that is not the current one.
        """
        message = self._settled_by(id_, lease, now)
        if message is None:
            return
        if message.state is State.IN_FLIGHT:
            self.work.add(now - message.delivered_at)
            self._deadlines.remove(message)
            self._in_flight -= 1
            if self.ordered_keys:
                self._ready.left(message)
        elif message.state is State.DEAD or not message.attempts:
            return
        else:
            self._withdraw(message)
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

        With ``dead``, or after its last attempt, it becomes a dead letter. Does nothing when it is
        gone, or, without a lease, when it is not in flight. Raises StaleLease as ``ack`` does.
        """
        message = self._settled_by(id_, lease, now)
        if message is None or message.state is not State.IN_FLIGHT:
            return
        self._end_lease(message)
        self.counters.nacked += 1
        self._fail(message, now, reason or "nacked", delay_s=delay_s, dead=dead)

    def give_back(self, id_: str, lease: str, now: float) -> None:
        """Undo a delivery that never left the broker: ready again, the attempt not counted.

        If the lease has run out meanwhile, the queue has taken the message back already: nothing
        is done.
        """
        try:
            message = self._leased(id_, lease, now)
        except (StaleLease, UnknownMessage):
            return
        self._end_lease(message)
        message.attempts -= 1
        self._come_back(message, now)

    def expire(self, now: float) -> float | None:
        """End the leases, delays and lives that are due. Returns the next deadline.

        When very many are due, one call does a part of them and returns a deadline that has
        passed already: call again.
        """
        for message in islice(self._deadlines.pop_due(now), _MOST_AT_ONCE):
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

    # ------------------------------------------------------------------ dead letters, and the end

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
        """Delete a dead letter. Raises UnknownMessage."""
        self._forget(self.dead_letters.take(id_))
        self.counters.purged += 1

    def clear(self) -> list[QueuedMessage]:
        """Delete all messages, in any state, and return them.

        To release many at once takes long: pass them to ``let_go`` in parts.
        """
        messages = list(self._messages.values())
        self._messages = {}
        self.held_bytes = 0
        self.counters.purged += len(messages)
        self._ready = KeyedLine() if self.ordered_keys else ReadyLine()
        self._deadlines.clear()
        self.dead_letters.clear()
        self._delayed = self._in_flight = 0
        return messages

    def let_go(self, messages: Sequence[QueuedMessage]) -> None:
        """Release some of the messages that ``clear`` returned."""

    # ------------------------------------------------------------------ transitions

    def _deliver(
        self, messages: Sequence[QueuedMessage], now: float, deadline: float
    ) -> list[LeasedMessage]:
        prefix, watch, waited = self.lease_prefix, self._deadlines.add, self.waits.add
        deliveries: list[LeasedMessage] = []
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
            deliveries.append(LeasedMessage(message, lease, attempts))
        self._in_flight += len(deliveries)
        self.counters.delivered += len(deliveries)
        return deliveries

    def _leased(self, id_: str, lease: str | None, now: float) -> QueuedMessage:
        message = self._messages.get(id_)
        if message is None:
            raise UnknownMessage(f"no message {id_} is held: it was acked, or never published")
        if message.state is not State.IN_FLIGHT or message.deadline <= now:
            state = "ready again" if message.state is State.IN_FLIGHT else message.state.value
            raise StaleLease(f"message {id_} is not leased now: it is {state}")
        if lease and lease != message.lease:
            raise StaleLease(f"message {id_} is in flight under another lease")
        return message

    def _settled_by(self, id_: str, lease: str | None, now: float) -> QueuedMessage | None:
        """The message that an ack or nack is about, in any state; None when it is gone.

        Raises StaleLease when a lease was sent, and it is not the current one.
        """
        message = self._messages.get(id_)
        if message is None or not lease:
            return message
        if lease == message.lease and message.deadline > now:
            return message
        return self._leased(id_, lease, now)

    def _end_lease(self, message: QueuedMessage) -> None:
        self._deadlines.remove(message)
        self._in_flight -= 1

    def _fail(
        self,
        message: QueuedMessage,
        now: float,
        reason: str,
        *,
        delay_s: float = 0.0,
        dead: bool = False,
    ) -> None:
        before = message.size
        # A history grows without a publish that could be refused, so in a full queue it is cut.
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

    def _delay(self, message: QueuedMessage, until: float) -> None:
        message.state = State.DELAYED
        message.lease = ""
        self._deadlines.add(message, min(until, message.expires_at))
        self._delayed += 1

    def _come_back(self, message: QueuedMessage, now: float) -> None:
        if message.expires_at <= now:
            self._drop(message)
        else:
            self._ready.put_back(message)
            self._watch_ready(message)

    def _withdraw(self, message: QueuedMessage) -> None:
        """Take a ready or delayed message out of its place."""
        if message.timer:
            self._deadlines.remove(message)
        if message.state is State.DELAYED:
            self._delayed -= 1
            self._ready.left(message)
        else:
            self._ready.discard(message)

    def _watch_ready(self, message: QueuedMessage) -> None:
        if message.expires_at < NEVER:
            self._deadlines.add(message, message.expires_at)

    def _bury(self, message: QueuedMessage, now: float) -> None:
        message.state = State.DEAD
        message.lease = ""
        message.since = now
        self._ready.left(message)
        self.dead_letters.add(message)
        self.counters.dead_lettered += 1

    def _drop(self, message: QueuedMessage) -> None:
        if message.state is State.READY:
            self._ready.discard(message)
        else:
            self._ready.left(message)
        self._forget(message)
        self.counters.expired += 1

    def _forget(self, message: QueuedMessage) -> None:
        del self._messages[message.id]
        self.held_bytes -= message.size
