"""One consume from several brokers: the ready messages, or the first that any gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gputel.errors import BrokerUnavailable, GputelError, QueueClosed
from gputel.mq.fleet.members import Member, Members, is_of_one
from gputel.mq.wire.protocol import Delivery

_RACE_S = 1.0  # a waiting consume looks this often for new brokers

_SILENT_S = 10.0  # a broker may be silent so long beyond the wait: others may have messages

GiveBack = Callable[[Sequence[Delivery], str | None], None]


class ConsumeLimits(NamedTuple):
    """The arguments of a consume."""

    max_messages: int
    max_bytes: int | None
    visibility_timeout_s: float | None
    queue: str | None


class FleetConsume:
    """One call. ``give_back`` gets messages that were delivered too late for the caller."""

    def __init__(
        self, members: Members, bounds: ConsumeLimits, turn: int, give_back: GiveBack
    ) -> None:
        self._members = members
        self._bounds = bounds
        self._turn = turn
        self._give_back = give_back

    async def run(self, wait_s: float) -> list[Delivery]:
        """The messages. Raises as ``QueueClient.consume``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            members = self._in_turn()
            if deliveries := await self._sweep(members):
                return deliveries
            left_s = until - loop.time()
            answering = [member for member in members if member.gives]
            if not answering:
                raise none_answers(self._members)
            if left_s <= 0:
                return []
            if deliveries := await self._race(answering, min(left_s, _RACE_S)):
                return deliveries

    def _in_turn(self) -> list[Member]:
        """The members that answer, or else all; each call starts with the next one."""
        everyone = self._members.everyone
        members = [member for member in everyone if member.gives] or everyone
        at = self._turn % max(1, len(members))
        return members[at:] + members[:at]

    async def _sweep(self, members: Sequence[Member]) -> list[Delivery]:
        """The messages that are ready, without waiting."""
        deliveries: list[Delivery] = []
        try:
            for member in members:
                deliveries += await self._ask(member, deliveries, 0.0)
        except GputelError:
            if not deliveries:
                raise
        except BaseException:
            self._leave(deliveries)
            raise
        return deliveries

    async def _race(self, members: Sequence[Member], wait_s: float) -> list[Delivery]:
        """The messages of the first broker that has any; empty when none has."""
        waiting = {asyncio.create_task(self._ask(member, (), wait_s)) for member in members}
        try:
            while waiting:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    waiting.discard(task)
                    if deliveries := task.result():
                        return deliveries
            return []
        finally:
            for task in waiting:
                task.cancel()
                task.add_done_callback(self._too_late)

    async def _ask(
        self, member: Member, taken: Sequence[Delivery], wait_s: float
    ) -> list[Delivery]:
        """Messages of one broker, within the rest of the bounds; empty when it is away."""
        most, max_bytes, timeout_s, queue = self._bounds
        most -= len(taken)
        if max_bytes is not None:
            max_bytes -= sum(len(delivery.payload) for delivery in taken)
        if taken and (most <= 0 or (max_bytes is not None and max_bytes <= 0)):
            return []
        try:
            async with asyncio.timeout(wait_s + _SILENT_S):
                deliveries = await member.client.consume(
                    most, max_bytes, wait_s, timeout_s, queue=queue
                )
        except TimeoutError:
            silent = BrokerUnavailable(f"no answer within {_SILENT_S:g} seconds")
            member.failed(member.giving, silent)
            return []
        except GputelError as error:
            if not is_of_one(error):
                raise
            member.failed(member.giving, error)
            return []
        member.worked(member.giving)
        for delivery in deliveries:
            delivery.lease = f"{member.number}.{delivery.lease}"
        return deliveries

    def _too_late(self, task: asyncio.Task[list[Delivery]]) -> None:
        # A consume that is cancelled in time holds no message; this one had its reply already.
        if not task.cancelled() and not task.exception():
            self._leave(task.result())

    def _leave(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._give_back(deliveries, self._bounds.queue)


def none_answers(members: Members) -> GputelError:
    """The error when no broker can be asked."""
    everyone = members.everyone
    if everyone and all(member.giving.closed for member in everyone):
        return QueueClosed("every broker is closed and empty")
    refusals = [each.error for each in everyone if each.error and not each.error.retriable]
    if refusals and len(refusals) == len(everyone):
        return refusals[0]
    return BrokerUnavailable("none of the brokers answers")
