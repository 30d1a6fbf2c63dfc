"""Settles messages that do not land: as dead letters, or back at the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from gputel import metrics
from gputel.collector.shared import LAST_CALLS_S, Shared, log
from gputel.mq.wire.protocol import Delivery

_LONGEST_DELAY_S = 60.0


class OpenDeliveries:
    """The messages of one consume that are not settled yet, with their leases."""

    def __init__(self, shared: Shared, deliveries: Sequence[Delivery]) -> None:
        self._shared = shared
        self._open = {delivery.lease: delivery for delivery in deliveries}

    @property
    def items(self) -> list[tuple[str, str]]:
        """The id and lease of each."""
        return [(delivery.id, lease) for lease, delivery in self._open.items()]

    def close(self, deliveries: Iterable[Delivery]) -> list[tuple[str, str]]:
        """These are settled, or about to be; returns the id and lease of each for the broker."""
        items = [(delivery.id, delivery.lease) for delivery in deliveries]
        for _, lease in items:
            self._open.pop(lease, None)
        return items

    async def bury(self, delivery: Delivery, reason: str, kind: str) -> None:
        """Make a message a dead letter."""
        metrics.COLLECTOR_DEAD.labels(reason=kind).inc()
        self._shared.lines.write("message %r cannot land: %s", delivery.id, reason)
        await self._nack(delivery, reason, dead=True)

    async def send_back(self, delivery: Delivery, reason: str, kind: str, delay_s: float) -> None:
        """Nack a message, so that this or another collector gets it; the broker limits attempts."""
        metrics.COLLECTOR_RETURNED.labels(reason=kind).inc()
        text = "message %r goes back to the broker after attempt %d: %s"
        self._shared.lines.write(text, delivery.id, delivery.attempts, reason)
        await self._nack(delivery, reason, delay_s=delay_s)

    async def _nack(
        self, delivery: Delivery, reason: str, *, delay_s: float = 0.0, dead: bool = False
    ) -> None:
        self._open.pop(delivery.lease, None)
        try:
            items = [(delivery.id, delivery.lease)]
            await self._shared.client.nack(items, delay_s, reason, dead)
        except Exception as error:
            text = "the nack of %r failed, it comes again when its lease runs out: %s"
            log.warning(text, delivery.id, error)

    async def give_back(self, deliveries: Sequence[Delivery] | None = None) -> None:
        """Give these, or all, back to the queue: this collector stops."""
        items = self.items if deliveries is None else self.close(deliveries)
        self._open = {} if deliveries is None else self._open
        try:
            async with asyncio.timeout(LAST_CALLS_S):
                await self._shared.client.nack(items)
        except Exception:
            log.info("messages not given back: they come again when their leases run out")


def delay_of(delivery: Delivery) -> float:
    """Seconds until the next delivery of a message that fails repeatedly."""
    return min(_LONGEST_DELAY_S, 2.0 ** min(delivery.attempts, 10))
