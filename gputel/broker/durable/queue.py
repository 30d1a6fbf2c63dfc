"""A queue that records its changes in a journal.

``JournaledQueue`` is a message queue that records every change that must survive a restart.
``JournaledWaitingQueue`` answers a publish only when its messages are safe.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from gputel.broker.queues.total import Total
from gputel.broker.queues.waiting import Outcome, WaitingQueue
from gputel.broker.requests.metadata import is_sound
from gputel.errors import BadRequest
from gputel.mq.core.message import NEVER, Failure, LeasedMessage, QueuedMessage, State
from gputel.mq.core.queue import MessageQueue
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.records import StoredDeath, StoredFailure, StoredMessage
from gputel.mq.journal.space import Entry, room_of

_UNSOUND = "its metadata, which an earlier gputel took, is over today's bounds"


class JournaledQueue(MessageQueue):
    """A message queue that records its changes. Call ``keep_in`` after the constructor."""

    def keep_in(self, journal: Journal, name: str) -> None:
        """Record changes in this journal, under this queue name."""
        self.name = name
        self._journal = journal
        self._entries: dict[str, Entry] = {}
        self._unix_epoch = time.time() - time.monotonic()

    def publish(self, message: QueuedMessage, now: float) -> State | None:
        """Accept a message, and record it."""
        state = super().publish(message, now)
        if state is None:
            number = self._journal.take_number()
            entry = self._entries[message.id] = Entry(number, number, self, message)
            self._journal.append(entry, self._published(entry))
        return state

    def give_back(self, id_: str, lease: str, now: float) -> None:
        """Undo a delivery that never left the broker, and record the attempts."""
        super().give_back(id_, lease, now)
        entry = self._entries.get(id_)
        if entry is not None:
            self._journal.attempted(entry, entry.message.attempts)

    def replay(self, id_: str) -> None:
        """Make a dead letter ready again, and record it."""
        if not is_sound(self.dead_letters.get(id_).metadata):
            raise BadRequest(f"dead letter {id_}: {_UNSOUND}: no consumer could read it; purge it")
        super().replay(id_)
        self._journal.replayed(self._entries[id_])

    def let_go(self, messages: Sequence[QueuedMessage]) -> None:
        """Record that messages returned by ``clear`` have ended."""
        for message in messages:
            self._journal.settle(self._entries.pop(message.id))

    def room_for(self, messages: Sequence[QueuedMessage]) -> tuple[int, int]:
        """The most bytes that these messages take in the journal: all together, and the largest."""
        rooms = [room_of(message) for message in messages]
        return sum(rooms), max(rooms, default=0)

    def _published(self, entry: Entry) -> StoredMessage:
        message: QueuedMessage = entry.message
        if message.delay_s or message.ttl_s:
            return self.stored(entry)
        number, at = entry.number, self._unix(message.since)
        return StoredMessage(
            number=number,
            order=number,
            queue=self.name,
            id=message.id,
            key=message.key,
            payload=message.payload,
            metadata=message.metadata,
            published_at=message.enqueued,
            since=at,
        )

    def stored(self, entry: Entry) -> StoredMessage:
        """The present state of a message, for the journal."""
        message: QueuedMessage = entry.message
        delayed = message.state is State.DELAYED
        return StoredMessage(
            number=entry.number,
            order=entry.order,
            queue=self.name,
            id=message.id,
            key=message.key,
            payload=message.payload,
            metadata=message.metadata,
            published_at=message.enqueued,
            attempts=message.attempts,
            dead=message.state is State.DEAD,
            since=message.since + self._unix_epoch,
            history=self._failures(message),
            expires_at=0.0 if message.expires_at == NEVER else self._unix(message.expires_at),
            ready_at=self._unix(message.deadline) if delayed else 0.0,
        )

    def restore(self, entry: Entry, stored: StoredMessage, now: float) -> None:
        """Restore a message of the journal, whatever the bounds are. It is not recorded again."""
        message = QueuedMessage(stored.id, stored.key, stored.payload, stored.metadata)
        entry.owner, entry.message = self, message
        if (older := self._entries.get(stored.id)) is not None:
            self._journal.settle(older)  # the record of its end is damaged
            self._drop_restored(older.message)
        self._entries[stored.id] = entry
        message.attempts, message.enqueued = stored.attempts, stored.published_at
        message.since = self._monotonic(stored.since)
        for mark in stored.history:
            message.remember(Failure(mark.attempt, self._monotonic(mark.at), mark.reason))
        if stored.expires_at:
            message.expires_at = self._monotonic(stored.expires_at)
        self._messages[message.id] = message
        self.held_bytes += message.size
        self.counters.published += 1
        self._put(message, stored, now)

    # ------------------------------------------------------------------ inside

    def _put(self, message: QueuedMessage, stored: StoredMessage, now: float) -> None:
        # A ready message gets its number when it is appended, and a dead letter must have none,
        # because it would block the others of its key.
        if stored.dead:
            message.state = State.DEAD
            self.dead_letters.add(message)
        elif not is_sound(message.metadata):
            self._ready.number(message)
            message.remember(Failure(message.attempts, now, _UNSOUND))
            self._bury(message, now)
        elif message.attempts >= self.limits.max_attempts:
            # When a broker ends, its leases end, and this was the last attempt.
            self._ready.number(message)
            message.remember(Failure(message.attempts, now, "the broker ended during its lease"))
            self._bury(message, now)
        elif self._monotonic(stored.ready_at) > now:
            self._ready.number(message)
            self._delay(message, self._monotonic(stored.ready_at))
        else:
            self._ready.append(message)
            self._watch_ready(message)

    def _drop_restored(self, message: QueuedMessage) -> None:
        if message.state is State.DEAD:
            self.dead_letters.take(message.id)
        else:
            self._withdraw(message)
        super()._forget(message)
        self.counters.purged += 1

    def _deliver(
        self, messages: Sequence[QueuedMessage], now: float, deadline: float
    ) -> list[LeasedMessage]:
        deliveries = super()._deliver(messages, now, deadline)
        for delivery in deliveries:
            self._journal.attempted(self._entries[delivery.message.id], delivery.attempts)
        return deliveries

    def _bury(self, message: QueuedMessage, now: float) -> None:
        super()._bury(message, now)
        entry = self._entries[message.id]
        died = StoredDeath(entry.number, self._unix(now), message.attempts, self._failures(message))
        self._journal.died(entry, died)

    def _forget(self, message: QueuedMessage) -> None:
        super()._forget(message)
        self._journal.settle(self._entries.pop(message.id))

    def _failures(self, message: QueuedMessage) -> list[StoredFailure]:
        return [StoredFailure(f.attempt, self._unix(f.at), f.reason) for f in message.history]

    def _unix(self, at: float) -> float:
        return at + self._unix_epoch

    def _monotonic(self, at: float) -> float:
        return at - self._unix_epoch


class JournaledWaitingQueue(WaitingQueue):
    """A waiting queue that answers a publish only when the journal has made it safe."""

    def __init__(self, queue: JournaledQueue, journal: Journal, total: Total) -> None:
        super().__init__(queue, total)
        self._journaled = queue
        self._journal = journal
        self._publishing = 0
        self.confirm = journal.confirm

    def is_useless(self) -> bool:
        """Whether it holds nothing, no client waits, and no publish is running."""
        return not self._publishing and super().is_useless()

    async def publish(self, messages: Sequence[QueuedMessage], wait_s: float) -> list[Outcome]:
        """Accept the messages, and wait until they are safe.

        Raises JournalFull, with nothing accepted; JournalBroken when it is unknown what a restart
        will find.
        """
        self._publishing += 1
        try:
            amount = await self._journal.admit(*self._journaled.room_for(messages))
            try:
                outcomes = await super().publish(messages, wait_s)
            finally:
                self._journal.release(amount)
            await self._journal.confirm()
        finally:
            self._publishing -= 1
        return outcomes
