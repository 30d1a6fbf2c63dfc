"""The collector: its workers, the upkeep of the store, and a line of progress now and then."""

from __future__ import annotations

import asyncio
import logging

from gputel import metrics
from gputel.backoff import pause
from gputel.collector.upkeep import maintain, prune
from gputel.collector.worker import Worker
from gputel.config import CollectorSettings
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.maintenance import Maintenance
from gputel.store.writer import Writer

log = logging.getLogger("gputel.collector")

_REPORT_S = 10.0


async def collect(
    settings: CollectorSettings,
    visibility_timeout_s: float,
    client: QueueClient,
    writer: Writer,
    maintenance: Maintenance,
    stopping: asyncio.Event,
    database_outage: Outage | None = None,
) -> None:
    """Run the workers until ``stopping`` is set and they have landed what they hold.

    ``database_outage`` is one that others look at as well: it lasts while rows do not land.
    """
    outages = Outage(log, "the broker"), database_outage or Outage(log, "the database")
    async with asyncio.TaskGroup() as group:
        for _ in range(settings.workers):
            worker = Worker(settings, visibility_timeout_s, client, writer, *outages)
            group.create_task(worker.run(stopping))
        group.create_task(prune(settings, writer, stopping))
        group.create_task(maintain(settings, maintenance, stopping))
        group.create_task(_report(stopping))


async def _report(stopping: asyncio.Event) -> None:
    before = _landed()
    while not await pause(_REPORT_S, stopping):
        now = _landed()
        if now > before:
            rate = (now - before) / _REPORT_S
            log.info("landed %s rows (%s rows/s)", f"{now - before:,.0f}", f"{rate:,.0f}")
        before = now


def _landed() -> float:
    return sum(
        sample.value
        for metric in metrics.COLLECTOR_ROWS_LANDED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
