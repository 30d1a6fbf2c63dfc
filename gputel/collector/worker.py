"""One worker: consume, land, ack. A message is acked only after its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from gputel import metrics
from gputel.backoff import Backoff, pause
from gputel.collector.batch import MOST_TOGETHER, DeliveryBatch
from gputel.collector.shared import LAST_CALLS_S, Shared, log
from gputel.errors import GputelError, QueueClosed
from gputel.failures import is_short, reason_of
from gputel.mq.client import MOST_REFUSALS
from gputel.mq.wire.protocol import Delivery

_WAIT_S = 0.2  # longest that one consume waits at the broker
_CLOSED_PAUSE_S = 0.2
_SHORT_PAUSE_S = 10.0  # when this machine is short of memory: other collectors get the messages


class Worker:
    """Lands messages in the store. Several workers share one client and one writer."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._to_ack: list[tuple[str, str]] = []  # committed, or not needed
        # The first message may be the one that crashed the process before: take it alone.
        self._careful = True
        self._refusals = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set; leased messages land before this returns.

        If it is cancelled, leased messages are given back to the queue.
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
            except Exception as error:
                self._failed(error)
                await backoff.wait(stopping)
            else:
                backoff.reset()
                self._refusals = 0
                self._shared.broker.ends()
                if deliveries:
                    await self._process(deliveries, stopping)
                else:
                    self._shared.machine.ends()

    def _failed(self, error: Exception) -> None:
        """Record why no messages came. Raises an error that trying again cannot fix."""
        if isinstance(error, GputelError):
            self._refusals += not error.retriable
            if self._refusals > MOST_REFUSALS:
                raise error
            metrics.COLLECTOR_RETRIES.labels(reason="broker").inc()
            self._shared.broker.begins(error)
        elif is_short(error):
            metrics.COLLECTOR_RETRIES.labels(reason="machine").inc()
            self._shared.machine.begins(GputelError(reason_of(error)))
        else:  # a reply that is not understood: the next one may be good
            self._to_ack = []  # the acks may be the cause; the store drops redelivered copies
            metrics.COLLECTOR_RETRIES.labels(reason="broker").inc()
            text = f"its reply is not understood: {reason_of(error)}"
            self._shared.broker.begins(GputelError(text))

    async def _process(self, deliveries: list[Delivery], stopping: asyncio.Event) -> None:
        self._careful = any(delivery.attempts > MOST_TOGETHER for delivery in deliveries)
        batch = DeliveryBatch(self._shared, deliveries, stopping)
        try:
            await batch.run()
        finally:
            self._to_ack += batch.to_ack
        if batch.short:
            await pause(_SHORT_PAUSE_S, stopping)

    async def _unless_stopped(
        self, consume: Coroutine[Any, Any, list[Delivery]], stopping: asyncio.Event
    ) -> list[Delivery]:
        """The deliveries; empty as soon as ``stopping`` is set: see QueueClient.consume."""
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
        """The next messages; the request acks what has landed."""
        settings, client = self._shared.settings, self._shared.client
        most = 1 if self._careful else settings.commit_max_messages
        max_bytes, timeout_s = settings.commit_max_bytes, self._shared.first_lease_s
        if not self._to_ack:
            return await client.consume(most, max_bytes, _WAIT_S, timeout_s)
        try:
            consumed = await client.ack_and_consume(
                self._to_ack, most, max_bytes, _WAIT_S, timeout_s
            )
        except QueueClosed:
            self._to_ack = []
            raise
        self._to_ack = []
        return consumed.messages

    async def _acknowledge(self) -> None:
        """Ack what has landed. If the ack is lost, the store drops the redelivered copy."""
        try:
            async with asyncio.timeout(LAST_CALLS_S):
                await self._shared.client.ack(self._to_ack)
        except Exception as error:
            log.warning("ack failed, the store drops the copies when they come again: %s", error)
