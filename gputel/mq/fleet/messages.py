"""The messages of several brokers as one stream, which waits at all brokers at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple

from gputel.errors import GputelError
from gputel.mq.client.client import QueueClient
from gputel.mq.client.consumer import Message
from gputel.mq.fleet.members import Member, Members

_REOPENS_S = 1.0  # until a broker that was closed and empty is asked again


class _Offer(NamedTuple):
    message: Message
    taken: asyncio.Future[None]


class FleetMessages:
    """Runs one task for each broker; the task offers one message at a time."""

    def __init__(
        self,
        members: Members,
        messages_of: Callable[[QueueClient], AsyncGenerator[Message, None]],
    ) -> None:
        self._members = members
        self._messages_of = messages_of
        self._tasks: dict[Member, asyncio.Task[None]] = {}
        self._offers: deque[_Offer] = deque()
        self._ended: set[Member] = set()
        self._news = asyncio.Event()

    async def run(self) -> AsyncGenerator[Message, None]:
        """Yield messages until all brokers are closed and empty at once."""
        self._members.watchers.add(self._news.set)
        try:
            while True:
                self._news.clear()
                await self._follow()
                while self._offers:
                    offer = self._offers.popleft()
                    if not offer.taken.done():
                        offer.taken.set_result(None)
                        yield offer.message
                if self._tasks and self._ended.issuperset(self._tasks):
                    return
                await self._news.wait()
        finally:
            self._members.watchers.discard(self._news.set)
            await _end(list(self._tasks.values()))

    async def _follow(self) -> None:
        """Start a task for each new broker, end those of brokers that left. Raises their error."""
        everyone = self._members.everyone
        gone = [member for member in self._tasks if member not in everyone]
        await _end([self._tasks.pop(member) for member in gone])
        self._ended.difference_update(gone)
        for task in self._tasks.values():
            if task.done():
                task.result()
        for member in everyone:
            if member not in self._tasks:
                task = asyncio.create_task(self._drink(member))
                task.add_done_callback(lambda _: self._news.set())
                self._tasks[member] = task

    async def _drink(self, member: Member) -> None:
        while True:
            async with aclosing(self._messages_of(member.client)) as messages:
                async for message in messages:
                    self._ended.discard(member)
                    await self._offer(message)
            self._ended.add(member)
            self._news.set()
            await asyncio.sleep(_REOPENS_S)

    async def _offer(self, message: Message) -> None:
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._offers.append(_Offer(message, taken))
        self._news.set()
        try:
            await taken
        except asyncio.CancelledError:
            if taken.cancelled():  # it was not yielded
                with contextlib.suppress(GputelError):
                    await message.nack()
            raise


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
