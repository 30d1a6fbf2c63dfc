"""A client of several brokers, with the interface of the client of one.

The key of a message, or its id if it has no key, selects its broker. So a key keeps its order, and
a message that is sent again reaches the same broker. A list without keys and ids goes to one
broker, the next list to the next one. If a broker cannot take a message now, another one gets it;
but if the broker is only full, messages with a key wait for it. A consumer gets messages from all
brokers in turn. A lease starts with the number of its broker; ack, nack and extend go there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Self, TypeVar

from gputel.config.values import check_broker_url
from gputel.errors import GputelError, UnknownMessage, UnknownQueue
from gputel.mq.client.client import QueueClient
from gputel.mq.client.consumer import Message, Retry
from gputel.mq.client.requests import Item
from gputel.mq.fleet.consume import ConsumeLimits, FleetConsume, none_answers
from gputel.mq.fleet.members import Members
from gputel.mq.fleet.messages import FleetMessages
from gputel.mq.fleet.publish import FleetPublish
from gputel.mq.fleet.settle import ItemCall, results_at
from gputel.mq.wire.protocol import (
    Consumed,
    DeadLetter,
    Delivery,
    Held,
    ItemResult,
    OutgoingMessage,
    Peeked,
    PublishResult,
)

T = TypeVar("T")


class QueueFleet(QueueClient):
    """Several brokers as one; ``gputel.mq.connect.connect`` makes it.

    Raises BrokerUnavailable only when no broker answers.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        patience_s: float = 60.0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, patience_s=patience_s, token=token, tls=tls)
        self._members = Members(self._addresses, partial(QueueClient, token=token, tls=tls))
        self._turn = 0
        self._background: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        for address in self._addresses:
            check_broker_url(address, "the brokers' addresses")
        await self._members.open()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for sender in self._senders.values():
            await sender.aclose()
        if self._background:
            await asyncio.wait(self._background)
        await self._members.aclose()

    # ------------------------------------------------------------------ in

    async def publish(
        self,
        messages: Sequence[OutgoingMessage],
        wait_s: float | None = None,
        *,
        queue: str | None = None,
    ) -> list[PublishResult]:
        """As with one broker; messages of one key keep the order of the list."""
        self._turn += 1
        return await FleetPublish(self._members, messages, self._turn, queue).run(wait_s)

    # ------------------------------------------------------------------ out

    def messages_with(
        self, prefetch: int, visibility_timeout_s: float, queue: str | None, retry: Retry
    ) -> AsyncGenerator[Message, None]:
        """As with one broker, ``prefetch`` for each broker; ends when all are closed and empty."""

        def messages_of(client: QueueClient) -> AsyncGenerator[Message, None]:
            return client.messages_with(prefetch, visibility_timeout_s, queue, retry)

        return FleetMessages(self._members, messages_of).run()

    async def consume(
        self,
        max_messages: int,
        max_bytes: int | None = None,
        wait_s: float = 0.0,
        visibility_timeout_s: float | None = None,
        *,
        queue: str | None = None,
    ) -> list[Delivery]:
        """As with one broker; asks one broker after the other until there are enough messages.

        Every broker delivers a first message whatever its size, so the result may exceed
        ``max_bytes`` by one message for each broker.
        """
        self._turn += 1
        bounds = ConsumeLimits(max_messages, max_bytes, visibility_timeout_s, queue)
        return await FleetConsume(self._members, bounds, self._turn, self._give_back).run(wait_s)

    async def ack_and_consume(
        self,
        items: Sequence[Item],
        max_messages: int,
        max_bytes: int | None = None,
        wait_s: float = 0.0,
        visibility_timeout_s: float | None = None,
        *,
        queue: str | None = None,
    ) -> Consumed:
        """Send the acks, each to its broker, and then consume, even when no ack could be done."""
        acks, _ = await results_at(
            self._members, items, lambda client, own: client.ack(own, queue=queue)
        )
        deliveries = await self.consume(
            max_messages, max_bytes, wait_s, visibility_timeout_s, queue=queue
        )
        return Consumed(acks, deliveries)

    def _give_back(self, deliveries: Sequence[Delivery], queue: str | None) -> None:
        items = [(delivery.id, delivery.lease) for delivery in deliveries]
        giving = self.nack(items, reason="the consumer left", queue=queue)
        task = asyncio.get_running_loop().create_task(_quietly(giving))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ------------------------------------------------------------------ about what is held

    async def ack(self, items: Sequence[Item], *, queue: str | None = None) -> list[ItemResult]:
        """As with one broker; items of a broker that is away fail with ``broker_unavailable``."""
        return await self._each_at(items, lambda client, own: client.ack(own, queue=queue))

    async def nack(
        self,
        items: Sequence[Item],
        delay_s: float = 0.0,
        reason: str = "",
        dead: bool = False,
        *,
        queue: str | None = None,
    ) -> list[ItemResult]:
        """As ``ack``."""
        return await self._each_at(
            items, lambda client, own: client.nack(own, delay_s, reason, dead, queue=queue)
        )

    async def extend(
        self, items: Sequence[Item], visibility_timeout_s: float, *, queue: str | None = None
    ) -> list[ItemResult]:
        """As ``ack``."""
        return await self._each_at(
            items, lambda client, own: client.extend(own, visibility_timeout_s, queue=queue)
        )

    async def _each_at(self, items: Sequence[Item], act: ItemCall) -> list[ItemResult]:
        """The results; raises when no broker could be asked."""
        results, errors = await results_at(self._members, items, act)
        if errors and all(errors):
            raise next(filter(None, errors))
        return results

    async def held(self, ids: Sequence[str], *, queue: str | None = None) -> list[Held | None]:
        """As with one broker, from all that answer."""
        answers = await self._of_all(lambda client: client.held(ids, queue=queue))
        return [next(filter(None, states), None) for states in zip(*answers, strict=True)]

    async def stats(self, *, queue: str | None = None) -> dict[str, Any]:
        """The counts, summed over all brokers that answer."""
        answers = await self._of_all(lambda client: client.stats(queue=queue))
        return {
            name: sum(answer[name] for answer in answers)
            for name, count in answers[0].items()
            if type(count) is int
        }

    async def peek(
        self,
        max_messages: int = 10,
        max_payload_bytes: int | None = None,
        *,
        queue: str | None = None,
    ) -> list[Peeked]:
        """As with one broker; the messages of one broker follow those of another."""
        answers = await self._of_all(
            lambda client: client.peek(max_messages, max_payload_bytes, queue=queue)
        )
        return list(chain.from_iterable(answers))[:max_messages]

    async def dead_letters(
        self, limit: int = 100, offset: int = 0, *, queue: str | None = None
    ) -> list[DeadLetter]:
        """The oldest of all brokers that answer; ``limit`` and ``offset`` are for all together."""
        most = min(limit + offset, 1_000)
        answers = await self._of_all(lambda client: client.dead_letters(most, queue=queue))
        letters = sorted(chain.from_iterable(answers), key=lambda letter: letter.died_at)
        return letters[offset : offset + limit]

    async def dead_letter(self, id: str, *, queue: str | None = None) -> DeadLetter:
        """As with one broker, from the one that has it."""
        answers = await self._of_all(lambda client: client.dead_letter(id, queue=queue))
        letter: DeadLetter = answers[0]
        return letter

    async def replay(
        self, ids: Sequence[str] = (), *, all: bool = False, queue: str | None = None
    ) -> int:
        """As with one broker, at those that have them."""
        return await self._counted(lambda client: client.replay(ids, all=all, queue=queue))

    async def purge(
        self, ids: Sequence[str] = (), *, all: bool = False, queue: str | None = None
    ) -> int:
        """As ``replay``."""
        return await self._counted(lambda client: client.purge(ids, all=all, queue=queue))

    async def _counted(self, act: Callable[[QueueClient], Coroutine[Any, Any, int]]) -> int:
        """The sum over all brokers. Raises UnknownMessage or UnknownQueue if none has them."""
        missing: list[GputelError] = []

        async def at(client: QueueClient) -> int | None:
            try:
                return await act(client)
            except (UnknownMessage, UnknownQueue) as error:
                missing.append(error)
                return None

        counts = [count for count in await self._at_every(at) if count is not None]
        if missing and not counts:
            raise missing[0]
        return sum(counts)

    async def declare(self, queue: str, *, ordered_keys: bool | None = None) -> None:
        """At every broker. Raises the error of any of them; the others have done it then."""
        await self._at_every(lambda client: client.declare(queue, ordered_keys=ordered_keys))

    async def delete(self, queue: str, *, force: bool = False) -> int:
        """At every broker that has it, else as ``declare``. Raises UnknownQueue if none has it."""
        return await self._counted(lambda client: client.delete(queue, force=force))

    async def _at_every(self, act: Callable[[QueueClient], Coroutine[Any, Any, T]]) -> list[T]:
        members = self._members.everyone
        if not members:
            raise none_answers(self._members)
        calls = [act(member.client) for member in members]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _of_all(self, ask: Callable[[QueueClient], Coroutine[Any, Any, Any]]) -> list[Any]:
        members = self._members.everyone
        answers = await asyncio.gather(
            *(ask(member.client) for member in members), return_exceptions=True
        )
        replies = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not replies:
            raise next(
                (e for e in answers if not getattr(e, "retriable", True)),
                none_answers(self._members),
            )
        return replies


async def _quietly(call: Coroutine[Any, Any, object]) -> None:
    try:
        await call
    except GputelError:
        return  # the leases run out by themselves
