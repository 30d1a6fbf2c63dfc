"""Random use of the queue beside a plain model of what it promises."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gputel.errors import QueueFull, RequestError
from gputel.mq.message import Delivery, Message, State
from gputel.mq.queue import MessageQueue, QueueLimits

MAX_MESSAGES = 6
MAX_ATTEMPTS = 3
TIMEOUT_S = 10.0


@dataclass
class Held:
    """What the model knows of one message."""

    order: int
    state: State = State.READY
    attempts: int = 0
    lease: str = ""
    due: float = 0.0


@dataclass
class Model:
    messages: dict[str, Held] = field(default_factory=dict)
    order: int = 0

    def of(self, state: State) -> list[str]:
        ids = [id_ for id_, held in self.messages.items() if held.state is state]
        return sorted(ids, key=lambda id_: self.messages[id_].order)

    def next_order(self) -> int:
        self.order += 1
        return self.order

    def fail(self, id_: str, due: float | None = None, dead: bool = False) -> None:
        held = self.messages[id_]
        if dead or held.attempts >= MAX_ATTEMPTS:
            held.state = State.DEAD
        elif due is not None:
            held.state, held.due = State.DELAYED, due
        else:
            held.state = State.READY

    def advance(self, now: float) -> None:
        for id_, held in self.messages.items():
            if held.state is State.IN_FLIGHT and held.due <= now:
                self.fail(id_)
            elif held.state is State.DELAYED and held.due <= now:
                held.state = State.READY


ids = st.sampled_from("abcdefghi")


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        limits = QueueLimits(MAX_MESSAGES, 10**6, TIMEOUT_S, MAX_ATTEMPTS)
        self.queue = MessageQueue(limits)
        self.model = Model()
        self.now = 0.0
        self.old: list[tuple[str, str]] = []

    @rule(id_=ids)
    def publish(self, id_: str) -> None:
        held = self.model.messages.get(id_)
        try:
            outcome = self.queue.publish(Message(id_, "", b"x", b""), self.now)
        except QueueFull:
            assert held is None
            assert len(self.model.messages) == MAX_MESSAGES
            return
        assert outcome is (held.state if held else None)
        if held is None:
            self.model.messages[id_] = Held(self.model.next_order())

    @rule(most=st.integers(1, 4), timeout_s=st.sampled_from([None, 1.0, 25.0]))
    def lease(self, most: int, timeout_s: float | None) -> None:
        expected = self.model.of(State.READY)[:most]
        deliveries: list[Delivery] = self.queue.lease(most, None, self.now, timeout_s)
        assert [delivery.message.id for delivery in deliveries] == expected
        for delivery in deliveries:
            held = self.model.messages[delivery.message.id]
            held.attempts += 1
            held.state, held.lease = State.IN_FLIGHT, delivery.lease
            held.due = self.now + (timeout_s or TIMEOUT_S)
            assert delivery.attempts == held.attempts
            assert all(delivery.lease != lease for _, lease in self.old)
            self.old.append((delivery.message.id, delivery.lease))

    @rule(data=st.data(), how=st.sampled_from(["ack", "nack", "delay", "dead", "back", "extend"]))
    def end_a_delivery(self, data: st.DataObject, how: str) -> None:
        if not self.old:
            return
        id_, lease = data.draw(st.sampled_from(self.old[-12:]))
        held = self.model.messages.get(id_)
        valid = held is not None and held.state is State.IN_FLIGHT and held.lease == lease
        try:
            self._end(id_, lease, how)
        except RequestError:
            assert not valid
            return
        if how == "back" and not valid:
            return
        assert valid
        assert held is not None
        self._end_in_model(id_, held, how)

    def _end(self, id_: str, lease: str, how: str) -> None:
        queue, now = self.queue, self.now
        if how == "ack":
            queue.ack(id_, lease, now)
        elif how == "back":
            queue.give_back(id_, lease, now)
        elif how == "extend":
            queue.extend(id_, lease, now, 5.0)
        else:
            queue.nack(id_, lease, now, delay_s=4.0 if how == "delay" else 0, dead=how == "dead")

    def _end_in_model(self, id_: str, held: Held, how: str) -> None:
        if how == "ack":
            del self.model.messages[id_]
        elif how == "back":
            held.attempts -= 1
            held.state = State.READY
        elif how == "extend":
            held.due = self.now + 5.0
        else:
            self.model.fail(id_, self.now + 4.0 if how == "delay" else None, how == "dead")

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.queue.expire(self.now)
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
        else:
            del self.model.messages[id_]

    @invariant()
    def counts_agree_with_the_model_and_balance(self) -> None:
        queue, model = self.queue, self.model
        assert queue.ready == len(model.of(State.READY))
        assert queue.in_flight == len(model.of(State.IN_FLIGHT))
        assert queue.delayed == len(model.of(State.DELAYED))
        assert set(queue.dead_letters.ids()) == set(model.of(State.DEAD))
        counters = queue.counters
        assert counters.published == counters.acked + counters.purged + len(model.messages)
        assert len(queue) == len(model.messages) <= MAX_MESSAGES

    @invariant()
    def next_deadline_is_the_earliest_due(self) -> None:
        timed = (State.IN_FLIGHT, State.DELAYED)
        due = [held.due for held in self.model.messages.values() if held.state in timed]
        assert self.queue.next_deadline() == min(due, default=None)

    @invariant()
    def bytes_are_those_of_the_messages_held(self) -> None:
        held = self.queue._held.values()
        assert self.queue.held_bytes == sum(message.size for message in held)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
