"""A queue at which publishers wait for room and consumers for messages, each in order.

Everything runs on the event loop, and nothing polls. After each change ``_settle`` serves the
waiting clients that it can, and one timer is set to the queue's next deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from gputel.broker.queues.total import Total
from gputel.errors import QueueClosed, QueueFull, RequestError
from gputel.mq.core.message import LeasedMessage, QueuedMessage, State
from gputel.mq.core.queue import MessageQueue

log = logging.getLogger("gputel.broker")

_DROPPED_AT_ONCE = 2_000
_TELL_AGAIN_S = 60.0
_TIMER_STEP_S = 0.001  # what timers of the event loop count in

T = TypeVar("T")
Outcome = State | RequestError | None
"""The outcome of one message: accepted (None), the state of a duplicate, or an error."""

Act = Callable[[T, float], None]
"""An action on one item of a request; its second argument is the time."""


@dataclass(eq=False)
class WaitingPublish:
    """A publish that waits for room; ``outcomes`` has those of its first messages."""

    messages: Sequence[QueuedMessage]
    done: asyncio.Future[None]
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(eq=False)
class WaitingConsume:
    """A consume that waits for messages, and its bounds."""

    max_messages: int
    max_bytes: int | None
    visibility_timeout_s: float | None
    done: asyncio.Future[list[LeasedMessage]]


class WaitingQueue:
    """A message queue whose publishers and consumers wait. Use it from one event loop only.

    ``total`` bounds it together with the other queues of the broker.
    """

    def __init__(self, queue: MessageQueue, total: Total | None = None) -> None:
        self.queue = queue
        self._total = total or Total(queue.limits.max_bytes, queue.limits.max_bytes)
        self._counted = 0  # bytes of the queue that are in the total
        self.confirm: Callable[[], Awaitable[None]] | None = None
        """If it is set, await it before a client is told that its request was done."""
        self._loop = asyncio.get_running_loop()
        self._publishers: OrderedDict[WaitingPublish, None] = OrderedDict()
        self._consumers: OrderedDict[WaitingConsume, None] = OrderedDict()
        self._waiting_bytes = 0
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # the queue's time
        self._changed: asyncio.Future[None] | None = None
        self._stopped = ""
        self.name = ""
        self._dropped = 0  # dead letters, as the log knows
        self._tell_again_at = 0.0

    def now(self) -> float:
        """The queue's time in monotonic seconds.

        The event loop's time is too coarse: it counts milliseconds and does not move within one
        turn of the loop, and most waits are shorter.
        """
        return time.monotonic()

    @property
    def waiting_publishers(self) -> int:
        """Publishes that wait for room."""
        return len(self._publishers)

    @property
    def waiting_consumers(self) -> int:
        """Consumers that wait for a message."""
        return len(self._consumers)

    def is_useless(self) -> bool:
        """Whether it holds nothing and no client waits."""
        return not (len(self.queue) or self._publishers or self._consumers)

    # ------------------------------------------------------------------ producers

    async def publish(self, messages: Sequence[QueuedMessage], wait_s: float) -> list[Outcome]:
        """Accept the messages in their order; waits up to ``wait_s`` for room.

        Returns one outcome for each message. Accepted messages stay accepted when others are
        refused or the caller is cancelled. Raises PayloadTooLarge, with nothing accepted, when
        one of them can never fit.
        """
        self.queue.check_sizes(messages)
        publisher = WaitingPublish(messages, self._loop.create_future())
        complete = not self._publishers and self._advance(publisher)
        if not complete:
            await self._wait_for_room(publisher, wait_s)
        if self._settle():
            await asyncio.sleep(0)  # a waiting consumer is answered first
        return publisher.outcomes

    async def _wait_for_room(self, publisher: WaitingPublish, wait_s: float) -> None:
        size = sum(message.size for message in publisher.messages[len(publisher.outcomes) :])
        total = self._total
        if self._waiting_bytes + size > max(size, self.queue.limits.max_bytes):
            wait_s = 0  # waiting messages use memory: as much may wait as the queue may hold
        if total.waiting + size > max(size, total.max_waiting_bytes):
            wait_s = 0
        self._publishers[publisher] = None
        self._waiting_bytes += size
        total.waiting += size
        self._settle()
        try:
            await _wait_for(publisher.done, wait_s, None)
        finally:
            self._publishers.pop(publisher, None)
            self._waiting_bytes -= size
            total.waiting -= size
            self._settle()
        missing = len(publisher.messages) - len(publisher.outcomes)
        publisher.outcomes.extend([self.queue.full_error()] * missing)

    def _advance(self, publisher: WaitingPublish) -> bool:
        """Publish messages while there is room; returns whether all were published."""
        complete = self._accept(publisher)
        while not complete and self._reclaim(publisher.messages[len(publisher.outcomes)].size):
            complete = self._accept(publisher)
        if self.queue.counters.dead_dropped != self._dropped:
            self.tell_dropped()
        return complete

    def _accept(self, publisher: WaitingPublish) -> bool:
        queue = self.queue
        self._set_ceiling()
        outcomes, publish, now = publisher.outcomes, queue.publish, self.now()
        unix_now = time.time()
        for message in islice(publisher.messages, len(outcomes), None):
            message.enqueued = unix_now
            try:
                outcomes.append(publish(message, now))
            except QueueFull:
                return False
            except QueueClosed as error:
                outcomes.append(error)
        return True

    def _reclaim(self, size: int) -> bool:
        """Make room among all queues, if it is there that a message of this size has none."""
        queue, total = self.queue, self._total
        if queue.ceiling >= queue.limits.max_bytes:
            return False
        self.count()
        lacking = size - total.room
        if lacking > 0 and total.reclaim(lacking):
            return True
        total.when_room(self._settle)
        return False

    def tell_dropped(self) -> None:
        """Write to the log that dead letters were dropped, once a minute at most."""
        now, dropped = self.now(), self.queue.counters.dead_dropped
        if now >= self._tell_again_at:
            self._tell_again_at = now + _TELL_AGAIN_S
            log.warning(
                "queue %s: %d of the oldest dead letters were dropped so far, because new messages "
                "need their room: look at the others with `gputel queue dead-letters`, replay or "
                "purge them; --dead-letters-share is what they keep",
                self.name,
                dropped,
            )
        self._dropped = dropped

    # ------------------------------------------------------------------ consumers

    async def consume(
        self,
        max_messages: int,
        max_bytes: int | None,
        wait_s: float | None,
        visibility_timeout_s: float | None = None,
    ) -> list[LeasedMessage]:
        """Lease up to ``max_messages``; waits up to ``wait_s`` for the first (None: for ever).

        Empty when none came. If it is cancelled, no lease remains. Raises QueueClosed when the
        queue is closed and nothing is left to wait for.
        """
        if self._stopped:
            raise QueueClosed(self._stopped)
        if not self._consumers:
            deliveries = self.queue.lease(max_messages, max_bytes, self.now(), visibility_timeout_s)
            if deliveries or wait_s == 0:
                self._settle()
                return deliveries
        consumer = WaitingConsume(
            max_messages, max_bytes, visibility_timeout_s, self._loop.create_future()
        )
        self._consumers[consumer] = None
        self._settle()
        try:
            return await _wait_for(consumer.done, wait_s, [])
        except asyncio.CancelledError:
            done = consumer.done
            if done.done() and not done.cancelled() and done.exception() is None:
                self.give_back(done.result())
            raise
        finally:
            self._consumers.pop(consumer, None)

    def give_back(self, deliveries: Iterable[LeasedMessage]) -> None:
        """Undo deliveries that never left the broker; they do not count as attempts."""
        now = self.now()
        for delivery in deliveries:
            self.queue.give_back(delivery.message.id, delivery.lease, now)
        self._settle()

    def each(self, act: Act[T], items: Iterable[T]) -> list[RequestError | None]:
        """Call ``act(item, now)`` for every item; returns the error of each, or None."""
        self._set_ceiling()
        now = self.now()
        errors: list[RequestError | None] = []
        for item in items:
            try:
                act(item, now)
                errors.append(None)
            except RequestError as error:
                errors.append(error)
        self._settle()
        return errors

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Refuse publishes, also waiting ones; consumers can empty the queue."""
        self.queue.close()
        self._settle()

    def stop(self, why: str = "the broker is stopping") -> None:
        """Close the queue; clients that wait get an error with the reason ``why``."""
        self._stopped = why
        self.close()
        for consumer in self._consumers:
            if not consumer.done.done():
                consumer.done.set_exception(QueueClosed(why))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def drop_all(self) -> None:
        """Drop all messages of a stopped queue, in parts, so that other work can go on."""
        dropped = self.queue.clear()
        self.count()
        while dropped:
            self.queue.let_go(dropped[-_DROPPED_AT_ONCE:])
            del dropped[-_DROPPED_AT_ONCE:]
            await asyncio.sleep(0)

    async def changed(self, at_most_s: float) -> None:
        """Wait for the next change of the queue, at most ``at_most_s``."""
        if self._changed is None or self._changed.done():
            self._changed = self._loop.create_future()
        await _wait_for(self._changed, at_most_s, None)

    # ------------------------------------------------------------------ inside

    def count(self) -> None:
        """Update the total of all queues with the bytes of this one."""
        size = self.queue.held_bytes
        if size != self._counted:
            change, self._counted = size - self._counted, size
            self._total.change(change)

    def _set_ceiling(self) -> None:
        queue = self.queue
        queue.ceiling = min(queue.limits.max_bytes, self._counted + self._total.room)

    def _settle(self) -> bool:
        """Serve the waiting clients that can be served; returns whether a consumer was."""
        waiting = len(self._consumers)
        if self._publishers:
            self.count()
            self._serve_publishers()
        if waiting:
            self._serve_consumers()
        self.count()
        self._set_timer()
        if self._changed is not None:
            _resolve(self._changed, None)
        return len(self._consumers) < waiting

    def _serve_publishers(self) -> None:
        while self._publishers:
            publisher = next(iter(self._publishers))
            if not publisher.done.done():
                if not self._advance(publisher):
                    return
                publisher.done.set_result(None)
            del self._publishers[publisher]

    def _serve_consumers(self) -> None:
        while self._consumers:
            consumer = next(iter(self._consumers))
            if not consumer.done.done() and not self._serve(consumer):
                return
            del self._consumers[consumer]

    def _serve(self, consumer: WaitingConsume) -> bool:
        try:
            deliveries = self.queue.lease(
                consumer.max_messages,
                consumer.max_bytes,
                self.now(),
                consumer.visibility_timeout_s,
            )
        except QueueClosed as error:
            consumer.done.set_exception(error)
            return True
        if deliveries:
            consumer.done.set_result(deliveries)
        return bool(deliveries)

    def _set_timer(self) -> None:
        deadline = self.queue.next_deadline()
        if deadline is None or self._stopped:
            return
        # A timer that fires too early is set again, so an ack need not move it. The loop counts
        # from the start of its turn, so a timer that is set late in a turn fires early.
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        wait_s = max(0.0, deadline - self.now()) + _TIMER_STEP_S
        self._timer = self._loop.call_later(wait_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._set_ceiling()
        self.queue.expire(self.now())
        self._settle()


async def _wait_for(future: asyncio.Future[T], wait_s: float | None, otherwise: T) -> T:
    """The result of the future within ``wait_s`` (None: no limit), else ``otherwise``."""
    if wait_s is None or future.done():
        return await future
    if wait_s <= 0:
        future.cancel()
        return otherwise
    timer = future.get_loop().call_later(wait_s, _resolve, future, otherwise)
    try:
        return await future
    finally:
        timer.cancel()


def _resolve(future: asyncio.Future[T], value: T) -> None:
    """Set the result of a future that is not done yet."""
    if not future.done():
        future.set_result(value)
