"""One publish to several brokers: who gets which message, and who else when that one cannot."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Sequence

from gputel.errors import BrokerUnavailable, GputelError, JournalFull, QueueClosed, QueueFull
from gputel.mq.client.calls import PublishIncomplete
from gputel.mq.client.requests import named
from gputel.mq.fleet.members import Member, Members, chosen
from gputel.mq.wire.protocol import OutgoingMessage, PublishResult

_FULL = (QueueFull, JournalFull)
_WAIT_S = 5.0  # for room at one broker, unless the caller says otherwise


class FleetPublish:
    """The messages of one call, and what became of each so far."""

    def __init__(
        self, members: Members, messages: Sequence[OutgoingMessage], turn: int, queue: str | None
    ) -> None:
        self._members = members
        self._as_one_list = not any(message.key or message.id for message in messages)
        self._messages = named(messages)
        self._turn = turn
        self._queue = queue
        self._results: list[PublishResult | None] = [None] * len(messages)
        self._passed: set[Member] = set()  # could not take theirs
        self._errors: list[GputelError] = []

    async def run(self, wait_s: float | None) -> list[PublishResult]:
        """Publish; a result for each message. Raises as ``QueueClient.publish``."""
        wait_s = _WAIT_S if wait_s is None else wait_s
        pending = list(range(len(self._messages)))
        while pending and (groups := self._spread(pending)):
            calls = [self._publish(member, own, wait_s) for member, own in groups.items()]
            pending = sorted(await _all(calls))
            wait_s = 0.0  # the others: at once, or not now
        results = [result for result in self._results if result is not None]
        if len(results) < len(self._messages):
            raise self._incomplete()
        return results

    def _spread(self, pending: Sequence[int]) -> dict[Member, list[int]]:
        present = [member for member in self._members.present if member not in self._passed]
        members = [member for member in present if member.takes] or present
        if not members:
            return {}
        if self._as_one_list:
            return {members[self._turn % len(members)]: list(pending)}
        groups: defaultdict[Member, list[int]] = defaultdict(list)
        for index in pending:
            message = self._messages[index]
            groups[chosen(members, message.key or message.id or "")].append(index)
        return groups

    async def _publish(self, member: Member, indexes: list[int], wait_s: float) -> list[int]:
        """Publish some to one broker; the places of those that another may take."""
        messages = [self._messages[index] for index in indexes]
        results: list[PublishResult] = []
        full = False
        try:
            results = await member.client.publish(messages, wait_s, queue=self._queue)
            member.worked(member.taking)
        except _FULL as error:
            results = error.results if isinstance(error, PublishIncomplete) else []
            full = True
            self._pass(member, error)
        except GputelError as error:
            if not error.retriable and not isinstance(error, QueueClosed):
                raise
            member.failed(member.taking, error)
            self._pass(member, error)
        for index, result in zip(indexes, results, strict=False):
            if result.state != "refused":
                self._results[index] = result
        # Past a broker that is only full, a message would overtake those of its key.
        return [
            index
            for index in indexes
            if self._results[index] is None and not (full and self._messages[index].key)
        ]

    def _pass(self, member: Member, error: GputelError) -> None:
        self._passed.add(member)
        self._errors.append(error)

    def _incomplete(self) -> GputelError:
        """Why not all were taken: the error that says most about what helps."""
        if not self._errors:
            return BrokerUnavailable("no broker is known yet")
        error = min(self._errors, key=lambda e: (not isinstance(e, _FULL), not e.retriable))
        if not any(self._results):
            return error
        results = [
            result or PublishResult(message.id or "", "refused", None, error.code, error.message)
            for message, result in zip(self._messages, self._results, strict=True)
        ]
        return PublishIncomplete(error.message, results)


async def _all(calls: Sequence[Awaitable[list[int]]]) -> list[int]:
    """The lists of all calls as one; raises what one raised, once all are through."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [
        index for indexes in answers if not isinstance(indexes, BaseException) for index in indexes
    ]
