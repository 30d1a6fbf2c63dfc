"""One publish to several brokers: which one gets which message, and who if it cannot take it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Sequence

from gputel.errors import BrokerUnavailable, GputelError, JournalFull, QueueFull
from gputel.mq.client.calls import PublishIncomplete
from gputel.mq.client.requests import with_ids
from gputel.mq.fleet.members import Member, Members, is_of_one, member_for
from gputel.mq.wire.protocol import OutgoingMessage, PublishResult

_FULL = (QueueFull, JournalFull)
_WAIT_S = 5.0  # default wait for room at one broker


class FleetPublish:
    """The messages of one call and their results so far."""

    def __init__(
        self, members: Members, messages: Sequence[OutgoingMessage], turn: int, queue: str | None
    ) -> None:
        self._members = members
        self._as_one_list = not any(message.key or message.id for message in messages)
        self._messages = with_ids(messages)
        self._turn = turn
        self._queue = queue
        self._results: list[PublishResult | None] = [None] * len(messages)
        self._skipped: set[Member] = set()  # members that could not accept their messages
        self._errors: list[GputelError] = []

    async def run(self, wait_s: float | None) -> list[PublishResult]:
        """Publish. Returns one result for each message. Raises as ``QueueClient.publish``."""
        wait_s = _WAIT_S if wait_s is None else wait_s
        pending = list(range(len(self._messages)))
        while pending and (groups := self._spread(pending)):
            calls = [self._publish(member, own, wait_s) for member, own in groups.items()]
            pending = sorted(await _all(calls))
            wait_s = 0.0  # other members are tried without waiting
        results = [result for result in self._results if result is not None]
        if len(results) < len(self._messages):
            raise self._incomplete()
        return results

    def _spread(self, pending: Sequence[int]) -> dict[Member, list[int]]:
        present = [member for member in self._members.present if member not in self._skipped]
        members = [member for member in present if member.takes] or present
        if not members:
            return {}
        if self._as_one_list:
            return {members[self._turn % len(members)]: list(pending)}
        groups: defaultdict[Member, list[int]] = defaultdict(list)
        for index in pending:
            message = self._messages[index]
            groups[member_for(members, message.key or message.id or "")].append(index)
        return groups

    async def _publish(self, member: Member, indexes: list[int], wait_s: float) -> list[int]:
        """Publish some to one broker; returns the indexes of messages that another may take."""
        messages = [self._messages[index] for index in indexes]
        results: list[PublishResult] = []
        full = False
        try:
            results = await member.client.publish(messages, wait_s, queue=self._queue)
            member.worked(member.taking)
        except _FULL as error:
            results = error.results if isinstance(error, PublishIncomplete) else []
            full = True
            self._skip(member, error)
        except GputelError as error:
            if not is_of_one(error):
                raise
            member.failed(member.taking, error)
            self._skip(member, error)
        for index, result in zip(indexes, results, strict=False):
            if result.state != "refused":
                self._results[index] = result
        # At another broker it would overtake messages of its key, which wait at the full one.
        return [
            index
            for index in indexes
            if self._results[index] is None and not (full and self._messages[index].key)
        ]

    def _skip(self, member: Member, error: GputelError) -> None:
        self._skipped.add(member)
        self._errors.append(error)

    def _incomplete(self) -> GputelError:
        """The error when not all were accepted: the one that helps the caller most."""
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
    """The results of all calls as one list; raises an error of one when all have ended."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [
        index for indexes in answers if not isinstance(indexes, BaseException) for index in indexes
    ]
