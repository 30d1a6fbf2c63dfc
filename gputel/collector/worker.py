"""One worker: consume, land, acknowledge; nothing is acknowledged before it is committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from gputel import metrics
from gputel.backoff import Backoff, pause
from gputel.collector.intake import Decoded, Undecodable, decode_all
from gputel.config import CollectorSettings
from gputel.errors import DataRefused, GputelError, QueueClosed, StoreError, StoreUnavailable
from gputel.mq.client import QueueClient
from gputel.mq.protocol import Delivery
from gputel.outage import Outage
from gputel.store.writer import Writer

log = logging.getLogger("gputel.collector")

_WAIT_S = 0.2  # longest that one consume waits at the broker
_CLOSED_PAUSE_S = 0.2
_LAST_CALLS_S = 2.0  # of a worker that ends
_SLOW_COMMIT_S = 15.0


class Worker:
    """Takes messages to the store. Several share one client and one writer."""

    def __init__(
        self,
        settings: CollectorSettings,
        visibility_timeout_s: float,
        client: QueueClient,
        writer: Writer,
        broker_outage: Outage,
        database_outage: Outage,
    ) -> None:
        self._settings = settings
        self._visibility_timeout_s = visibility_timeout_s
        self._client = client
        self._writer = writer
        self._broker_outage = broker_outage
        self._database_outage = database_outage
        self._landed: list[tuple[str, str]] = []  # committed, to be acknowledged

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set; what is held then is landed before this returns.

        When cancelled, the messages held are handed back to the queue.
        """
        try:
            await self._work(stopping)
        finally:
            await self._acknowledge()

    async def _work(self, stopping: asyncio.Event) -> None:
        backoff = Backoff()
        while not stopping.is_set():
            try:
                deliveries = await self._unless_stopped(self._consume(), stopping)
            except QueueClosed:
                await pause(_CLOSED_PAUSE_S, stopping)
            except GputelError as error:
                if not error.retriable:
                    raise
                metrics.COLLECTOR_RETRIES.labels(reason="broker").inc()
                self._broker_outage.begins(error)
                await backoff.wait(stopping)
            else:
                backoff.reset()
                self._broker_outage.ends()
                if deliveries:
                    await self._process(deliveries, stopping)

    async def _unless_stopped(
        self, consume: Coroutine[Any, Any, list[Delivery]], stopping: asyncio.Event
    ) -> list[Delivery]:
        """What is delivered, or nothing as soon as ``stopping`` is set: see QueueClient.consume."""
        consuming = asyncio.ensure_future(consume)
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait((consuming, stopped), return_when=asyncio.FIRST_COMPLETED)
            if consuming.done():
                return consuming.result()
            return []
        finally:
            stopped.cancel()
            consuming.cancel()
            await asyncio.wait((consuming,))

    async def _consume(self) -> list[Delivery]:
        """The next messages; what has landed is acknowledged with the request for them."""
        settings, client = self._settings, self._client
        most, max_bytes = settings.commit_max_messages, settings.commit_max_bytes
        timeout_s = self._visibility_timeout_s
        if not self._landed:
            return await client.consume(most, max_bytes, _WAIT_S, timeout_s)
        try:
            consumed = await client.ack_and_consume(
                self._landed, most, max_bytes, _WAIT_S, timeout_s
            )
        except QueueClosed:
            self._landed = []
            raise
        self._landed = []
        return consumed.messages

    async def _process(self, deliveries: list[Delivery], stopping: asyncio.Event) -> None:
        try:
            async with self._kept_alive(deliveries):
                good, bad = await asyncio.to_thread(decode_all, deliveries)
                await self._bury(bad)
                if good:
                    await self._land(good, stopping)
        except asyncio.CancelledError:
            await self._give_back(deliveries)
            raise

    async def _land(self, good: Sequence[Decoded], stopping: asyncio.Event) -> None:
        """Land; the next consume acknowledges. One that cannot must not keep others from it."""
        backoff = Backoff()
        while True:
            try:
                with metrics.COLLECTOR_COMMIT_SECONDS.time(), self._told_if_slow():
                    landed = await self._writer.land([item.arrival for item in good])
                self._database_outage.ends()
                break
            except DataRefused as error:
                if len(good) == 1:
                    return await self._bury([Undecodable(good[0].delivery, error.message)])
                for item in good:
                    await self._land([item], stopping)
                return None
            except StoreError as error:
                metrics.COLLECTOR_RETRIES.labels(reason="store").inc()
                if error.retriable:
                    self._database_outage.begins(error)
                else:
                    log.error("rows not landed, trying again soon: %s", error.message)  # noqa: TRY400
                if await backoff.wait(stopping):
                    return await self._give_back([item.delivery for item in good])
        metrics.COLLECTOR_DUPLICATES.inc(len(landed) - sum(landed))
        self._landed += [(item.delivery.id, item.delivery.lease) for item in good]
        return None

    @contextmanager
    def _told_if_slow(self) -> Iterator[None]:
        """Nothing fails while a lock is waited for: the log and the health are to tell of it."""
        error = StoreUnavailable(
            f"rows have waited {_SLOW_COMMIT_S:g} s for Postgres to take them: another session may "
            "hold a lock, as pg_stat_activity shows"
        )
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_SLOW_COMMIT_S, self._database_outage.begins, error)
        try:
            yield
        finally:
            timer.cancel()

    async def _acknowledge(self) -> None:
        """An acknowledgement that is lost does no harm: the copy will be dropped by the store."""
        try:
            async with asyncio.timeout(_LAST_CALLS_S):
                await self._client.ack(self._landed)
        except (GputelError, TimeoutError) as error:
            log.warning("acknowledgement not taken, copies will be dropped: %s", error)

    async def _bury(self, bad: Sequence[Undecodable]) -> None:
        for item in bad:
            metrics.COLLECTOR_DEAD.inc()
            log.error("message %r cannot land: %s", item.delivery.id, item.reason)
            try:
                await self._client.nack(
                    [(item.delivery.id, item.delivery.lease)], reason=item.reason, dead=True
                )
            except GputelError as error:
                log.warning("dead letter not taken, the message will come again: %s", error.message)

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        try:
            async with asyncio.timeout(_LAST_CALLS_S):
                await self._client.nack([(item.id, item.lease) for item in deliveries])
        except (GputelError, TimeoutError):
            log.info("messages not handed back, they come again when their leases run out")

    @asynccontextmanager
    async def _kept_alive(self, deliveries: Sequence[Delivery]) -> AsyncIterator[None]:
        """Extend the leases for as long as the work on them takes."""
        task = asyncio.create_task(self._extend(deliveries))
        try:
            yield
        finally:
            task.cancel()

    async def _extend(self, deliveries: Sequence[Delivery]) -> None:
        items = [(item.id, item.lease) for item in deliveries]
        while True:
            await asyncio.sleep(self._visibility_timeout_s / 3)
            try:
                await self._client.extend(items, self._visibility_timeout_s)
            except GputelError as error:
                log.warning("leases not extended: %s", error.message)
