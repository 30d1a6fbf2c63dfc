"""Acks, nacks and extends at several brokers: each item goes to the broker that its lease names.

An item without a lease goes to every broker, since any of them may hold the message.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from gputel.errors import GputelError, QueueClosed, StaleLease, UnknownMessage
from gputel.mq.client.client import QueueClient
from gputel.mq.client.requests import Item
from gputel.mq.fleet.members import Member, Members, is_of_one
from gputel.mq.wire.protocol import ItemResult

ItemCall = Callable[[QueueClient, list[Item]], Awaitable[list[ItemResult]]]


async def results_at(
    members: Members, items: Sequence[Item], act: ItemCall
) -> tuple[list[ItemResult], list[GputelError | None]]:
    """The result of each item, and for each broker the error if it could not be asked."""
    groups: defaultdict[Member, list[tuple[int, Item]]] = defaultdict(list)
    for index, (id_, lease) in enumerate(items):
        if not lease:
            for each in members.everyone:
                groups[each].append((index, (id_, None)))
            continue
        number, _, its_own = lease.partition(".")
        member = members.numbered(int(number)) if number.isdecimal() else None
        if member is not None:
            groups[member].append((index, (id_, its_own)))
    answers: list[list[ItemResult]] = [[] for _ in items]
    errors = await asyncio.gather(
        *(_act_at(member, own, act, answers) for member, own in groups.items())
    )
    return [_result(id_, own) for (id_, _), own in zip(items, answers, strict=True)], errors


async def _act_at(
    member: Member, items: list[tuple[int, Item]], act: ItemCall, answers: list[list[ItemResult]]
) -> GputelError | None:
    """Add the results of one broker; returns the error if it could not be asked."""
    error: GputelError | None = None
    try:
        results = await act(member.client, [item for _, item in items])
    except GputelError as raised:
        if not is_of_one(raised) or isinstance(raised, QueueClosed):
            raise
        error = raised
        results = [
            ItemResult(id_, ok=False, code=error.code, message=error.message)
            for _, (id_, _) in items
        ]
    for (index, _), result in zip(items, results, strict=True):
        answers[index].append(result)
    return error


def _result(id_: str, answers: list[ItemResult]) -> ItemResult:
    """One result of those of all brokers that were asked about an item.

    A failure counts, except that a broker does not hold the message while another one does.
    """
    if not answers:
        gone = "its broker is no longer there"
        return ItemResult(id_, ok=False, code=StaleLease.code, message=gone)
    return min(answers, key=lambda answer: (answer.code == UnknownMessage.code, answer.ok))
