"""Publishes scraped slots: reserves them, and keeps them while the broker or Postgres is away.

Slots are reserved right before they are published, not before they are scraped. So a streamer that
was paused or cut off, and whose shards others have taken, cannot make a sample land twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from functools import partial

from gputel import metrics
from gputel.backoff import Backoff, pause
from gputel.errors import PayloadTooLarge, QueueClosed
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.outage import Outage
from gputel.store.write.scrapes import Reservation, Scrapes, SlotRange
from gputel.streamer.publisher import message_id, message_of, publish
from gputel.streamer.scrape.slots import ScrapedSlots
from gputel.streamer.waiting import until_there

log = logging.getLogger("gputel.streamer")

LEASE_S = 60.0
"""Seconds that a published message may take to land before it is looked for."""

_AHEAD_S = 60.0  # slots are never reserved so far in the future
_MOST_AGE_S = 60.0
_MOST_ROWS = 2_000_000
_AT_ONCE = 64
_SOON_S = 1.0  # what takes longer is told of


@dataclass(frozen=True)
class _Waiting:
    slots: ScrapedSlots
    since: float  # monotonic seconds


class Outbox:
    """The slots that are not published yet.

    Those of ``gather_s`` seconds are published together, so that the store commits them together.
    When slots have waited for too long, or are too many, the oldest are dropped.
    """

    def __init__(self, scrapes: Scrapes, client: QueueClient, gather_s: float) -> None:
        self._scrapes = scrapes
        self._client = client
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._publishing: set[str | None] = set()  # ids of messages
        self._gather_s = gather_s
        self._hurry = asyncio.Event()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._broker_outage = Outage(log, "the broker")
        self._database_outage = Outage(log, "the database")

    def put(self, slots: ScrapedSlots) -> None:
        """Publish these slots soon."""
        self._waiting.append(_Waiting(slots, time.monotonic()))
        self._rows += slots.batch.num_rows
        self._drop_oldest()
        metrics.SCRAPE_ROWS_WAITING.set(self._rows)
        self._filled.set()
        self._empty.clear()

    async def flushed(self) -> None:
        """Publish all slots at once, and wait until that is done: they cannot be scraped again."""
        self._hurry.set()
        try:
            if not await pause(_SOON_S, self._empty):
                log.warning(
                    "waiting until the broker has the last scrapes, which are lost otherwise: "
                    "--drain-deadline-s limits this"
                )
            await self._empty.wait()
        except asyncio.CancelledError:
            log.error("the last scrapes are lost: they were not published")  # noqa: TRY400
            raise

    async def run(self) -> None:
        """Publish until it is cancelled."""
        behind = False
        while True:
            await self._filled.wait()
            if not behind:
                await pause(self._gather_s, self._hurry)
            some = self._take()
            behind = bool(self._waiting)
            try:
                await self._publish(some)
            finally:
                metrics.SCRAPE_ROWS_WAITING.set(self._rows)
            if not self._waiting:
                self._filled.clear()
                self._empty.set()

    def _take(self) -> list[ScrapedSlots]:
        """The oldest slots of several streams, which are no longer waiting then."""
        taken: dict[str, ScrapedSlots] = {}
        left: deque[_Waiting] = deque()
        for each in self._waiting:
            slots = each.slots
            if slots.stream_id in taken or len(taken) == _AT_ONCE:
                left.append(each)
            else:
                taken[slots.stream_id] = slots
                self._rows -= slots.batch.num_rows
        self._waiting = left
        return list(taken.values())

    def _drop_oldest(self) -> None:
        """Drop what waits for too long, but for the newest slots."""
        oldest = time.monotonic() - _MOST_AGE_S
        dropped = 0
        while len(self._waiting) > 1 and (
            self._rows > _MOST_ROWS or self._waiting[0].since < oldest
        ):
            slots = self._waiting.popleft().slots
            self._rows -= slots.batch.num_rows
            dropped += slots.after - slots.first
        if dropped:  # the next reservation finds that they are missing
            log.warning("%d slots of scrapes waited for too long: dropped", dropped)

    async def _publish(self, some: list[ScrapedSlots]) -> None:
        reserved = await self._reserve(some)
        messages = []
        for slots, reservation in zip(some, reserved, strict=True):
            _count(slots, reservation)
            if reservation.first < slots.after:
                messages.append(await _message(slots, reservation.first))
        if messages:
            self._publishing = {message.id for message in messages}
            await self._publish_messages(messages)
            self._publishing = set()

    async def _reserve(self, some: list[ScrapedSlots]) -> list[Reservation]:
        ranges = [self._range(slots) for slots in some]
        reserve = partial(self._scrapes.reserve, ranges, LEASE_S)
        reserved = await until_there(reserve, self._database_outage, asyncio.Event())
        assert reserved is not None, "nobody sets the event"
        return reserved

    def _range(self, slots: ScrapedSlots) -> SlotRange:
        possible = slots.grid.slot_at(self._scrapes.now_us() + round(_AHEAD_S * 1_000_000)) + 2
        return SlotRange(slots.stream_id, slots.shard, slots.first, slots.after, possible)

    async def _publish_messages(self, messages: list[OutgoingMessage]) -> None:
        backoff, never = Backoff(), asyncio.Event()
        while True:
            try:
                await publish(self._client, messages, self._broker_outage, never)
            except PayloadTooLarge as error:
                if len(messages) == 1:  # it is found expired later, and counted as lost
                    text = "scraped samples cannot land: message %r: %s"
                    log.error(text, messages[0].id, error.message)  # noqa: TRY400
                    return
                for message in messages:
                    await self._publish_messages([message])
            except QueueClosed as error:
                self._broker_outage.begins(error)
                await backoff.wait(never)
                continue
            return

    async def settle(self) -> None:
        """Look for messages that should have landed: those that the broker lost are given up."""
        expired = await self._scrapes.expired()
        if not expired:
            return
        ids = [message_id(stream_id, first) for stream_id, first in expired]
        held = await self._client.held(ids)
        waiting = [
            each
            for each, name, state in zip(expired, ids, held, strict=True)
            if state or name in self._publishing
        ]
        gone = [each for each in expired if each not in waiting]
        if waiting:
            await self._scrapes.extend(waiting, LEASE_S)
        if gone:
            for shard, slots in (await self._scrapes.drop(gone)).items():
                metrics.SCRAPE_SLOTS_LOST.labels(reason="published").inc(slots)
                log.warning(
                    "%s: %d slots of scrapes were published, but never landed", shard, slots
                )


def _count(slots: ScrapedSlots, reservation: Reservation) -> None:
    """Count the slots before the reserved ones: those that nobody has had, and those of others."""
    if reservation.missed:
        metrics.SCRAPE_SLOTS_LOST.labels(reason="not published").inc(reservation.missed)
    taken_by_others = min(reservation.first, slots.after) - slots.first
    if taken_by_others:
        metrics.SCRAPE_SLOTS_TAKEN.inc(taken_by_others)


async def _message(slots: ScrapedSlots, first: int) -> OutgoingMessage:
    """The message of the slots from ``first`` on."""
    batch = slots.since(first)
    return await message_of(slots.stream_id, first, slots.after - first, batch)
