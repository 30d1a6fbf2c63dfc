"""The messages of one consume, until each has landed or was settled in another way.

    decoded ---> landed, all in one transaction
       |            | refused, for a reason that does not pass: each in its own transaction
       |            +--> landed, or a dead letter, or given back if the cause is unclear
       +--> a dead letter: not a record batch, or over a limit
       +--> given back: damaged on the way, or this machine is short of memory

A message that was delivered often may have crashed other collectors, so it is processed alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from gputel import metrics
from gputel.backoff import Backoff
from gputel.collector.intake import (
    DecodedMessage,
    DecodeResult,
    FailedMessage,
    decode_some,
    is_chunk,
)
from gputel.collector.settling import OpenDeliveries, delay_of
from gputel.collector.shared import Shared, log
from gputel.errors import GputelError, StoreError, StoreUnavailable
from gputel.failures import Cause, cause_of, is_short, reason_of
from gputel.mq.wire.protocol import Delivery

MOST_TOGETHER = 2
"""Up to this attempt a message is processed together with others."""

_DAMAGED_AT_BROKER = 8  # from this attempt on, the broker's own copy must be damaged
_TRIES = 8  # while this machine is short of memory; together they take about 10 seconds
_SHORT_DELAY_S = 5.0
_SLOW_COMMIT_S = 15.0
_STALL_S = 300.0  # work without progress for this long loses its leases


class DeliveryBatch:
    """The messages of one consume.

    ``to_ack`` have landed, or their streamer sends them again; ``short``: this machine was short of
    memory for too long.
    """

    def __init__(
        self, shared: Shared, deliveries: Sequence[Delivery], stopping: asyncio.Event
    ) -> None:
        self._shared = shared
        self._deliveries = deliveries
        self._stopping = stopping
        self._open = OpenDeliveries(shared, deliveries)
        self._moved_at = 0.0
        self.to_ack: list[tuple[str, str]] = []
        self.short = False

    async def run(self) -> None:
        """Settle every message. If it is cancelled, unsettled messages are given back."""
        together = [each for each in self._deliveries if each.attempts <= MOST_TOGETHER]
        alone = [each for each in self._deliveries if each.attempts > MOST_TOGETHER]
        try:
            async with self._kept_alive():
                await self._work_on(together)
                for delivery in alone:
                    await self._work_on([delivery])
                    await self._acknowledge()  # the next one may crash this process
        except asyncio.CancelledError:
            await self._open.give_back()
            raise

    async def _work_on(self, deliveries: Sequence[Delivery]) -> None:
        left = list(deliveries)
        while left:
            intake = await self._decode(left)
            await self._settle(intake)
            for each in intake.failed:
                await self._decode_again(each)
            left = intake.left

    async def _settle(self, intake: DecodeResult) -> None:
        for bad in intake.bad:
            await self._open.bury(bad.delivery, bad.reason, "payload")
        for delivery in intake.damaged:
            await self._refuse_damaged(delivery)
        if intake.good:
            await self._land(intake.good)

    async def _refuse_damaged(self, delivery: Delivery) -> None:
        """The broker's copy may be good. If it is not, the streamer reads the chunk again."""
        if delivery.attempts >= _DAMAGED_AT_BROKER and is_chunk(delivery):
            metrics.COLLECTOR_RETURNED.labels(reason="damaged_at_broker").inc()
            text = "message %r is damaged at the broker: its rows are read and sent again"
            self._shared.lines.write(text, delivery.id)
            self.to_ack += self._open.close([delivery])
        else:
            reason = "the checksum does not fit: the message was damaged on the way"
            await self._open.send_back(delivery, reason, "damaged", 0.0)

    async def _decode(self, deliveries: Sequence[Delivery]) -> DecodeResult:
        try:
            return await asyncio.to_thread(decode_some, deliveries, self._shared.limits)
        except Exception as error:  # short of memory or threads
            return DecodeResult(failed=[FailedMessage(delivery, error) for delivery in deliveries])
        finally:
            self._moves()

    async def _decode_again(self, failed: FailedMessage) -> None:
        """Decode one message alone, again while the machine is short of memory."""
        backoff = Backoff()
        for _ in range(_TRIES):
            if not is_short(failed.error):
                break
            self._short_of(failed.error)
            if await backoff.wait(self._stopping):
                return await self._open.give_back([failed.delivery])
            intake = await self._decode([failed.delivery])
            if not intake.failed:
                self._shared.machine.ends()
                return await self._settle(intake)
            failed = intake.failed[0]
        return await self._fail(failed.delivery, failed.error)

    async def _land(self, good: Sequence[DecodedMessage]) -> None:
        """Land messages; the next consume acks them. A bad message must not block others."""
        backoff, tries = Backoff(), 0
        while True:
            try:
                return await self._commit(good)
            except Exception as error:
                self._moves()
                cause = cause_of(error)
                short = not isinstance(error, StoreError) and is_short(error)
                tries += short
                if cause in (Cause.PERMANENT, Cause.UNCLEAR) or tries > (1 if good[1:] else _TRIES):
                    return await self._land_apart(good, error)
                self._short_of(error) if short else self._away(error)
            if await backoff.wait(self._stopping):
                return await self._open.give_back([item.delivery for item in good])

    async def _commit(self, good: Sequence[DecodedMessage]) -> None:
        with metrics.COLLECTOR_COMMIT_SECONDS.time(), self._reported_if_slow():
            landed = await self._shared.writer.land([item.arrival for item in good])
        self._moves()
        self._shared.database.ends()
        self._shared.machine.ends()
        metrics.COLLECTOR_DUPLICATES.inc(len(landed) - sum(landed))
        self.to_ack += self._open.close(item.delivery for item in good)

    async def _land_apart(self, good: Sequence[DecodedMessage], error: Exception) -> None:
        if isinstance(error, StoreError):
            self._shared.database.ends()  # it answers, even if it refuses these
        if len(good) == 1:
            return await self._fail(good[0].delivery, error)
        for item in good:
            await self._land([item])
        return None

    async def _fail(self, delivery: Delivery, error: Exception) -> None:
        """Settle a message that failed by itself."""
        reason = reason_of(error)
        if cause_of(error) is Cause.PERMANENT:
            await self._open.bury(delivery, reason, "refused")
        elif is_short(error):
            self.short = True
            reason = f"the collector is short of memory, threads or files: {reason}"
            await self._open.send_back(delivery, reason, "short", _SHORT_DELAY_S)
        else:
            if not isinstance(error, GputelError):
                log.error("unexpected error with message %r", delivery.id, exc_info=error)
            await self._open.send_back(delivery, reason, "unclear", delay_of(delivery))

    def _short_of(self, error: Exception) -> None:
        metrics.COLLECTOR_RETRIES.labels(reason="machine").inc()
        self._shared.machine.begins(GputelError(reason_of(error)))

    def _away(self, error: Exception) -> None:
        metrics.COLLECTOR_RETRIES.labels(reason="store").inc()
        self._shared.database.begins(GputelError(reason_of(error)))

    @contextmanager
    def _reported_if_slow(self) -> Iterator[None]:
        """Report a slow commit in log and health: while it waits for a lock, nothing fails."""
        error = StoreUnavailable(
            f"rows have waited {_SLOW_COMMIT_S:g} s for Postgres to take them: another session may "
            "hold a lock, as pg_stat_activity shows, or the connection may be broken"
        )
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_SLOW_COMMIT_S, self._shared.database.begins, error)
        try:
            yield
        finally:
            timer.cancel()

    async def _acknowledge(self) -> None:
        try:
            await self._shared.client.ack(self.to_ack)
        except Exception as error:  # the next consume sends it again
            log.warning("ack failed, it is sent again with the next consume: %s", reason_of(error))
            return
        self.to_ack = []

    def _moves(self) -> None:
        self._moved_at = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def _kept_alive(self) -> AsyncIterator[None]:
        """Extend the leases while the work makes progress."""
        self._moves()
        task = asyncio.create_task(self._extend())
        try:
            yield
        finally:
            task.cancel()

    async def _extend(self) -> None:
        loop, timeout_s = asyncio.get_running_loop(), self._shared.visibility_timeout_s
        pause_s = self._shared.first_lease_s / 3
        while True:
            await asyncio.sleep(pause_s)
            pause_s = timeout_s / 3
            if loop.time() - self._moved_at > _STALL_S:
                text = "no progress on %d messages: their leases run out, and others may take them"
                log.error(text, len(self._open.items))
                return
            try:
                await self._shared.client.extend(self._open.items, timeout_s)
            except Exception as error:  # try again in the next round
                log.warning("leases not extended: %s", reason_of(error))
