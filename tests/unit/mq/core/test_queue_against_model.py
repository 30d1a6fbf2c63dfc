"""Random use of the queue beside a plain model of what it promises."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gputel.errors import QueueFull, RequestError
from gputel.mq.core.message import NEVER, LeasedMessage, QueuedMessage, State
from gputel.mq.core.queue import MessageQueue, QueueLimits

MAX_MESSAGES = 6
MAX_ATTEMPTS = 3
TIMEOUT_S = 10.0
DEAD_SHARE = 2  # messages: a third


@dataclass
class Held:
    """What the model knows of one message."""

    order: int
    key: str
    expires_at: float = NEVER
    state: State = State.READY
    attempts: int = 0
    lease: str = ""
    due: float = 0.0
    died: int = 0


@dataclass
class Model:
    ordered_keys: bool = False
    messages: dict[str, Held] = field(default_factory=dict)
    order: int = 0
    expired: int = 0
    deaths: int = 0
    dropped: int = 0

    def of(self, state: State) -> list[str]:
        ids = [id_ for id_, held in self.messages.items() if held.state is state]
        return sorted(ids, key=lambda id_: self.messages[id_].order)

    def deliverable(self) -> list[str]:
        return [id_ for id_ in self.of(State.READY) if not self.is_blocked(self.messages[id_])]

    def is_blocked(self, held: Held) -> bool:
        return self.ordered_keys and any(
            other.key == held.key and other.order < held.order and other.state is not State.DEAD
            for other in self.messages.values()
            if held.key
        )

    def next_order(self) -> int:
        self.order += 1
        return self.order

    def delay(self, id_: str, due: float) -> None:
        held = self.messages[id_]
        held.state, held.due = State.DELAYED, min(due, held.expires_at)

    def come_back(self, id_: str, now: float) -> None:
        held = self.messages[id_]
        held.state = State.READY
        if held.expires_at <= now:
            del self.messages[id_]
            self.expired += 1

    def fail(self, id_: str, now: float, delay_s: float = 0.0, dead: bool = False) -> None:
        held = self.messages[id_]
        if dead or held.attempts >= MAX_ATTEMPTS:
            self.deaths += 1
            held.state, held.died = State.DEAD, self.deaths
        elif delay_s and held.expires_at > now:
            self.delay(id_, now + delay_s)
        else:
            self.come_back(id_, now)

    def make_room(self) -> bool:
        """Drop the oldest dead letter of a full queue, if there are more than their share."""
        dead = sorted(self.of(State.DEAD), key=lambda id_: self.messages[id_].died)
        if len(self.messages) == MAX_MESSAGES and len(dead) > DEAD_SHARE:
            del self.messages[dead[0]]
            self.dropped += 1
        return len(self.messages) < MAX_MESSAGES

    def advance(self, now: float) -> None:
        for id_, held in list(self.messages.items()):
            due = held.expires_at if held.state is State.READY else held.due
            if due > now or held.state is State.DEAD:
                continue
            if held.state is State.IN_FLIGHT:
                self.fail(id_, now)
            else:
                self.come_back(id_, now)


ids = st.sampled_from("abcdefghi")
keys = st.sampled_from(["", "k", "l"])
delays = st.sampled_from([0.0, 0.0, 0.0, 2.0, 7.0])
lives = st.sampled_from([0.0, 0.0, 1.0, 6.0])


class QueueMachine(RuleBasedStateMachine):
    ordered_keys = False

    def __init__(self) -> None:
        super().__init__()
        limits = QueueLimits(MAX_MESSAGES, 10**6, TIMEOUT_S, MAX_ATTEMPTS, 0.34)
        self.queue = MessageQueue(limits, ordered_keys=self.ordered_keys)
        self.model = Model(self.ordered_keys)
        self.now = 0.0
        self.old: list[tuple[str, str]] = []

    @rule(id_=ids, key=keys, delay_s=delays, ttl_s=lives)
    def publish(self, id_: str, key: str, delay_s: float, ttl_s: float) -> None:
        held = self.model.messages.get(id_)
        has_room = held is not None or self.model.make_room()
        try:
            outcome = self.queue.publish(
                QueuedMessage(id_, key, b"x", b"", delay_s, ttl_s), self.now
            )
        except QueueFull:
            assert not has_room
            return
        assert has_room
        assert outcome is (held.state if held else None)
        if held is None:
            expires_at = self.now + ttl_s if ttl_s else NEVER
            self.model.messages[id_] = Held(self.model.next_order(), key, expires_at)
            if delay_s:
                self.model.delay(id_, self.now + delay_s)

    @rule(most=st.integers(1, 4), timeout_s=st.sampled_from([None, 1.0, 25.0]))
    def lease(self, most: int, timeout_s: float | None) -> None:
        expected = self.model.deliverable()[:most]
        deliveries: list[LeasedMessage] = self.queue.lease(most, None, self.now, timeout_s)
        assert [delivery.message.id for delivery in deliveries] == expected
        for delivery in deliveries:
            held = self.model.messages[delivery.message.id]
            held.attempts += 1
            held.state, held.lease = State.IN_FLIGHT, delivery.lease
            held.due = self.now + (timeout_s or TIMEOUT_S)
            assert delivery.attempts == held.attempts
            assert all(delivery.lease != lease for _, lease in self.old)
            self.old.append((delivery.message.id, delivery.lease))

    @rule(
        data=st.data(),
        how=st.sampled_from(["ack", "nack", "delay", "dead", "back", "extend"]),
        with_lease=st.booleans(),
    )
    def end_a_delivery(self, data: st.DataObject, how: str, with_lease: bool) -> None:
        if not self.old:
            return
        id_, lease = data.draw(st.sampled_from(self.old[-12:]))
        sent = lease if with_lease or how == "back" else None
        held = self.model.messages.get(id_)
        in_flight = held is not None and held.state is State.IN_FLIGHT
        valid = in_flight and held is not None and sent in (None, held.lease)
        try:
            self._end(id_, sent, how)
        except RequestError:
            assert not valid
            assert how == "extend" or (held is not None and sent is not None)
            return
        if held is not None and valid:
            self._end_in_model(id_, held, how)
        elif held is None or how == "back":
            assert how != "extend"
        else:
            assert sent is None
            delivered = held.attempts and held.state is not State.DEAD
            if how == "ack" and delivered:  # it counts, though its lease ran out
                del self.model.messages[id_]

    def _end(self, id_: str, lease: str | None, how: str) -> None:
        queue, now = self.queue, self.now
        if how == "ack":
            queue.ack(id_, lease, now)
        elif how == "back":
            queue.give_back(id_, lease or "", now)
        elif how == "extend":
            queue.extend(id_, lease, now, 5.0)
        else:
            queue.nack(id_, lease, now, delay_s=4.0 if how == "delay" else 0, dead=how == "dead")

    def _end_in_model(self, id_: str, held: Held, how: str) -> None:
        if how == "ack":
            del self.model.messages[id_]
        elif how == "back":
            held.attempts -= 1
            self.model.come_back(id_, self.now)
        elif how == "extend":
            held.due = self.now + 5.0
        else:
            delay_s = 4.0 if how == "delay" else 0.0
            self.model.fail(id_, self.now, delay_s, how == "dead")

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 10.0]), told=st.booleans())
    def time_passes(self, seconds: float, told: bool) -> None:
        self.now += seconds
        if told:
            self.queue.expire(self.now)
        else:  # a lease alone sees to what is due
            self.queue.lease(0, None, self.now)
        self.model.advance(self.now)

    @rule(id_=ids, replay=st.booleans())
    def settle_a_dead_letter(self, id_: str, replay: bool) -> None:
        held = self.model.messages.get(id_)
        dead = held is not None and held.state is State.DEAD
        try:
            (self.queue.replay if replay else self.queue.purge)(id_)
        except RequestError:
            assert not dead
            return
        assert dead
        assert held is not None
        if replay:
            held.state, held.attempts, held.order = State.READY, 0, self.model.next_order()
            held.expires_at = NEVER
        else:
            del self.model.messages[id_]

    @rule(really=st.sampled_from([False, False, False, True]))
    def clear(self, really: bool) -> None:
        if really:
            dropped = self.queue.clear()
            assert {message.id for message in dropped} == set(self.model.messages)
            self.model.messages.clear()

    @invariant()
    def counts_agree_with_the_model_and_balance(self) -> None:
        queue, model = self.queue, self.model
        assert queue.ready == len(model.of(State.READY))
        assert queue.blocked == len(model.of(State.READY)) - len(model.deliverable())
        assert queue.in_flight == len(model.of(State.IN_FLIGHT))
        assert queue.delayed == len(model.of(State.DELAYED))
        assert set(queue.dead_letters.ids()) == set(model.of(State.DEAD))
        c = queue.counters
        assert c.expired == model.expired
        assert c.dead_dropped == model.dropped
        gone = c.acked + c.purged + c.expired + c.dead_dropped
        assert c.published == gone + len(model.messages)
        dead = [queue._messages[id_] for id_ in queue.dead_letters.ids()]
        assert queue.dead_letters.bytes == sum(message.size for message in dead)
        assert len(queue) == len(model.messages) <= MAX_MESSAGES
        assert queue.drained == (set(model.messages) == set(model.of(State.DEAD)))

    @invariant()
    def next_is_the_oldest_that_may_be_delivered(self) -> None:
        first = self.queue.oldest_ready()
        assert ([first.id] if first else []) == self.model.deliverable()[:1]

    @invariant()
    def peek_shows_what_a_lease_would_give(self) -> None:
        assert [m.id for m in self.queue.peek(MAX_MESSAGES)] == self.model.deliverable()

    @invariant()
    def next_deadline_is_the_earliest_due(self) -> None:
        timed = (State.IN_FLIGHT, State.DELAYED)
        messages = self.model.messages.values()
        due = [held.due for held in messages if held.state in timed]
        due += [held.expires_at for held in messages if held.state is State.READY]
        assert self.queue.next_deadline() == min([at for at in due if at < NEVER], default=None)

    @invariant()
    def bytes_are_those_of_the_messages_held(self) -> None:
        held = self.queue._messages.values()
        assert self.queue.held_bytes == sum(message.size for message in held)


class OrderedQueueMachine(QueueMachine):
    ordered_keys = True


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestOrderedQueue = OrderedQueueMachine.TestCase
TestOrderedQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
