"""Messages one after another, each with its own ack; leases are extended while one works."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from gputel.backoff import Backoff
from gputel.errors import GputelError, QueueClosed
from gputel.mq.client.acks import Acks, Item
from gputel.mq.client.requests import RequestClient
from gputel.mq.wire.protocol import Delivery

log = logging.getLogger("gputel.mq")

_WAIT_S = 20.0


class Retry(NamedTuple):
    """When a message comes again whose handler failed: later each time, ``most_s`` at most.

    ``max_attempts``: after so many deliveries it becomes a dead letter; None: the broker decides.
    """

    first_s: float = 1.0
    most_s: float = 60.0
    max_attempts: int | None = None

    def pause_s(self, attempts: int) -> float:
        """The pause after so many deliveries; it is cut at random, by half at most."""
        longest_s = self.first_s * 2.0 ** min(attempts - 1, 30)
        return min(longest_s, self.most_s) * random.uniform(0.5, 1)

    def is_last(self, attempts: int) -> bool:
        """Whether there is no further attempt."""
        return self.max_attempts is not None and attempts >= self.max_attempts


class Message:
    """One delivery. As a context manager: acked when its block ends, given back when it raises.

    An exception in the block goes to the log, and no further: the loop of messages goes on, and the
    message comes again after a pause that grows with its attempts.
    """

    def __init__(self, holder: Holder, delivery: Delivery) -> None:
        self._holder = holder
        self.id: str = delivery.id
        self.key: str = delivery.key
        self.payload: bytes = delivery.payload
        self.metadata: dict[str, Any] = delivery.metadata
        self.lease: str = delivery.lease
        self.attempts: int = delivery.attempts
        self.enqueued: str = delivery.enqueued
        self.settled = False

    async def ack(self) -> bool:
        """Ack the message. False: its lease had run out, so another consumer may get it."""
        self._settle()
        holder = self._holder
        return (await holder.client.ack([(self.id, self.lease)], queue=holder.queue))[0].ok

    async def nack(self, delay_s: float = 0.0, reason: str = "", dead: bool = False) -> bool:
        """Give it back, at once or after ``delay_s``, or make it dead. Returns as ``ack``."""
        self._settle()
        holder, items = self._holder, [(self.id, self.lease)]
        results = await holder.client.nack(items, delay_s, reason, dead, queue=holder.queue)
        return results[0].ok

    async def extend(self, visibility_timeout_s: float) -> bool:
        """Extend the lease from now; the consumer does this by itself. Returns as ``ack``."""
        holder, items = self._holder, [(self.id, self.lease)]
        results = await holder.client.extend(items, visibility_timeout_s, queue=holder.queue)
        return results[0].ok

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            await self._failed(error)
            return True
        if self.settled:
            return False
        if error is None:
            self._settle()
            self._holder.acks.add((self.id, self.lease))
        else:  # the task is cancelled, or the program ends
            with contextlib.suppress(GputelError):  # the lease runs out by itself
                await self.nack(reason=type(error).__name__)
        return False

    async def _failed(self, error: Exception) -> None:
        retry = self._holder.retry
        dead, pause_s = retry.is_last(self.attempts), retry.pause_s(self.attempts)
        if self.settled:
            then = "it was settled before"
        else:
            then = "it is a dead letter now" if dead else f"it comes again in {pause_s:.1f} s"
        text = "the handler of message %r failed at attempt %d; %s"
        log.warning(text, self.id, self.attempts, then, exc_info=error)
        if not self.settled:
            reason = f"{type(error).__name__}: {error}"
            with contextlib.suppress(GputelError):  # the lease runs out by itself
                await self.nack(0.0 if dead else pause_s, reason, dead)

    def _settle(self) -> None:
        self.settled = True
        self._holder.pending.pop(self.lease, None)


class Holder:
    """The leased messages of one consumer; ``keep`` extends the leases until it is cancelled."""

    def __init__(
        self, client: RequestClient, visibility_timeout_s: float, queue: str | None, retry: Retry
    ) -> None:
        self.client = client
        self.queue = queue
        self.retry = retry
        self.pending: dict[str, Message] = {}
        self.acks = Acks(partial(client.ack, queue=queue), visibility_timeout_s)
        self._timeout_s = visibility_timeout_s

    async def keep(self) -> None:
        """Extend every lease each third of the visibility timeout."""
        while True:
            await asyncio.sleep(self._timeout_s / 3)
            items = [(message.id, message.lease) for message in self.pending.values()]
            with contextlib.suppress(GputelError):  # away: try again in the next round
                results = await self.client.extend(items, self._timeout_s, queue=self.queue)
                for (_, lease), result in zip(items, results, strict=True):
                    if not result.ok:
                        self.pending.pop(lease, None)

    async def fetch(self, most: int) -> list[Message]:
        """The next messages, at most ``most``; waiting acks are sent with the request."""
        acks = self.acks.take()
        try:
            deliveries = await self._fetch(list(acks), most)
        except QueueClosed:
            raise  # the acks were done
        except BaseException:
            self.acks.put_back(acks)
            raise
        messages = [Message(self, delivery) for delivery in deliveries]
        self.pending.update({message.lease: message for message in messages})
        return messages

    async def _fetch(self, acks: list[Item], most: int) -> list[Delivery]:
        if not acks:
            return await self.client.consume(most, None, _WAIT_S, self._timeout_s, queue=self.queue)
        consumed = await self.client.ack_and_consume(
            acks, most, None, _WAIT_S, self._timeout_s, queue=self.queue
        )
        return consumed.messages


async def messages(
    client: RequestClient,
    open_acks: set[Acks],
    prefetch: int,
    visibility_timeout_s: float,
    queue: str | None,
    retry: Retry,
) -> AsyncGenerator[Message, None]:
    """Yield messages until the broker is closed and empty; leases last until each is settled.

    While the broker is away, the generator waits. When it is closed, it gives back messages that it
    fetched and did not yield. The client closes what is in ``open_acks``.
    """
    holder = Holder(client, visibility_timeout_s, queue, retry)
    open_acks.add(holder.acks)
    keeper = asyncio.create_task(holder.keep())
    fetched: deque[Message] = deque()
    backoff = Backoff()
    try:
        while True:
            try:
                fetched.extend(await holder.fetch(prefetch))
            except QueueClosed:
                return
            except GputelError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            while fetched:
                yield fetched.popleft()
    finally:
        keeper.cancel()
        with contextlib.suppress(GputelError):
            await client.nack([(m.id, m.lease) for m in fetched], queue=queue)
        await holder.acks.aclose()
        open_acks.discard(holder.acks)
