"""Messages one after another, each with its own ack, and with leases that last while one works."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gputel.errors import BrokerUnavailable, GputelError, QueueClosed
from gputel.mq.protocol import Delivery

if TYPE_CHECKING:
    from gputel.mq.client import QueueClient

_WAIT_S = 20.0
_LONGEST_DELAY_S = 5.0


class Message:
    """One delivery. As a context manager: acked when its block ends, given back when it raises."""

    def __init__(self, client: QueueClient, delivery: Delivery, leases: Leases) -> None:
        self._client = client
        self._leases = leases
        self.id: str = delivery.id
        self.key: str = delivery.key
        self.payload: bytes = delivery.payload
        self.metadata: dict[str, Any] = delivery.metadata
        self.lease: str = delivery.lease
        self.attempts: int = delivery.attempts
        self.settled = False

    async def ack(self) -> bool:
        """End the message. False: its lease had run out, so another consumer may get it."""
        self._settle()
        return (await self._client.ack([(self.id, self.lease)]))[0].ok

    async def nack(self, delay_s: float = 0.0, reason: str = "", dead: bool = False) -> bool:
        """Give it back, at once or after ``delay_s``, or make it a dead letter. As ``ack``."""
        self._settle()
        item = (self.id, self.lease)
        return (await self._client.nack([item], delay_s, reason, dead))[0].ok

    async def extend(self, visibility_timeout_s: float) -> bool:
        """Let the lease last so long from now; the consumer does this by itself. As ``ack``."""
        return (await self._client.extend([(self.id, self.lease)], visibility_timeout_s))[0].ok

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.settled:
            return
        if error is None:
            await self.ack()
        else:
            with contextlib.suppress(GputelError):  # the lease runs out by itself
                await self.nack(reason=f"{type(error).__name__}: {error}")

    def _settle(self) -> None:
        self.settled = True
        self._leases.held.pop(self.lease, None)


class Leases:
    """The messages that a consumer holds; ``keep`` extends their leases until it is cancelled."""

    def __init__(self, client: QueueClient, visibility_timeout_s: float) -> None:
        self.held: dict[str, Message] = {}
        self._client = client
        self._timeout_s = visibility_timeout_s

    async def keep(self) -> None:
        """Extend every lease three times within each of its spans."""
        while True:
            await asyncio.sleep(self._timeout_s / 3)
            items = [(message.id, message.lease) for message in self.held.values()]
            with contextlib.suppress(GputelError):  # away for now: the next time, or never
                results = await self._client.extend(items, self._timeout_s)
                for (_, lease), result in zip(items, results, strict=True):
                    if not result.ok:
                        self.held.pop(lease, None)


async def messages(
    client: QueueClient, prefetch: int, visibility_timeout_s: float
) -> AsyncGenerator[Message, None]:
    """Yield messages until the broker is closed and empty; leases last until each is settled.

    A broker that is away is waited for. When the generator is closed, what it fetched and did
    not yield is given back.
    """
    leases = Leases(client, visibility_timeout_s)
    keeper = asyncio.create_task(leases.keep())
    fetched: list[Message] = []
    delay_s = 0.05
    try:
        while True:
            try:
                got = await client.consume(prefetch, None, _WAIT_S, visibility_timeout_s)
            except QueueClosed:
                return
            except BrokerUnavailable:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1))
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
                continue
            delay_s = 0.05
            fetched = [Message(client, delivery, leases) for delivery in reversed(got)]
            leases.held.update({message.lease: message for message in fetched})
            while fetched:
                yield fetched.pop()
    finally:
        keeper.cancel()
        if fetched:
            with contextlib.suppress(GputelError):
                await client.nack([(message.id, message.lease) for message in fetched])
