"""What a queue holds, by id and within its bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gputel.errors import PayloadTooLarge, QueueFull
from gputel.mq.core.counters import Counters, Latency, QueueLimits
from gputel.mq.core.dead_letters import DeadLetters
from gputel.mq.core.message import Message, State


@dataclass
class Hold:
    """Messages in whatever state, none of them twice, and never more than the limits allow."""

    limits: QueueLimits = field(default_factory=QueueLimits)
    lease_prefix: str = ""
    counters: Counters = field(default_factory=Counters)
    closed: bool = False
    held_bytes: int = 0

    def __post_init__(self) -> None:
        self.ceiling = self.limits.max_bytes
        """Most bytes that it may hold now: less than its limit when other queues need the room."""
        self.dead_letters = DeadLetters()
        self._held: dict[str, Message] = {}
        self.waits = Latency()
        """From the publish, or the end of its delay, to the first delivery."""
        self.work = Latency()
        """From a delivery to its ack."""

    def __len__(self) -> int:
        """Messages held, in whatever state."""
        return len(self._held)

    @property
    def drained(self) -> bool:
        """Whether nothing is left that a consumer could get, now or later."""
        return len(self._held) == len(self.dead_letters)

    def state_of(self, id_: str) -> State | None:
        """The state that the message of this id is held in; None: it is not held."""
        message = self._held.get(id_)
        return message.state if message else None

    def check_sizes(self, messages: Iterable[Message]) -> None:
        """Raise PayloadTooLarge for a message that would not fit an empty queue."""
        most = self.limits.max_bytes
        for message in messages:
            if message.size > most:
                raise PayloadTooLarge(
                    f"message {message.id} counts {message.size} bytes, more than the whole queue "
                    f"may hold: {most} (--queue-max-bytes, --broker-max-bytes)"
                )

    def full_error(self) -> QueueFull:
        """The refusal of a full queue; it tells what fills it."""
        short = self.ceiling < self.limits.max_bytes
        if short and len(self._held) < self.limits.max_messages:
            return QueueFull(
                "the broker's queues hold as many bytes together as they may "
                f"(--broker-max-bytes), {self.held_bytes} of them this queue: publish again later, "
                "or see with GET /queues what fills them"
            )
        dead = len(self.dead_letters)
        hint = f"; {dead} of them are dead letters: replay or purge them" if dead else ""
        return QueueFull(
            f"the queue is full, {len(self._held)} messages and {self.held_bytes} bytes{hint}; "
            "publish again later"
        )

    def _take(self, message: Message) -> None:
        self._held[message.id] = message
        self.held_bytes += message.size

    def _forget(self, message: Message) -> None:
        del self._held[message.id]
        self.held_bytes -= message.size
