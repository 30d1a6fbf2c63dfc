"""The collector: its workers, the upkeep of the store, and a regular log line of progress."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from gputel import metrics
from gputel.backoff import pause
from gputel.collector.shared import Lines, Shared, log
from gputel.collector.upkeep import maintain, prune
from gputel.collector.worker import Worker
from gputel.config.settings import CollectorSettings
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.write.writer import Writer

__all__ = ["collect", "log"]

_REPORT_S = 10.0
_REJECTED = {
    "expired": "older than what is kept (--retention)",
    "future": "too far in the future (--future-limit)",
    "no_reading": "a blank of DCGM, or not a finite number",
    "impossible": "their field cannot have such a value (--impossible-values)",
}


async def collect(
    settings: CollectorSettings,
    visibility_timeout_s: float,
    client: QueueClient,
    writer: Writer,
    maintenance: Maintenance,
    stopping: asyncio.Event,
    database_outage: Outage | None = None,
    machine_outage: Outage | None = None,
) -> None:
    """Run the workers until ``stopping`` is set and their messages have landed.

    ``database_outage`` and ``machine_outage`` are shared with health checks. The first lasts while
    rows do not land, the second while this machine is short of memory, threads or files.
    """
    shared = Shared(
        settings,
        visibility_timeout_s,
        client,
        writer,
        Outage(log, "the broker"),
        database_outage or Outage(log, "the database"),
        machine_outage or machine_outage_of(),
    )
    async with asyncio.TaskGroup() as group:
        for _ in range(settings.workers):
            group.create_task(Worker(shared).run(stopping))
        group.create_task(prune(settings, writer, stopping))
        group.create_task(maintain(settings, maintenance, stopping))
        group.create_task(_report(shared.lines, stopping))


def machine_outage_of() -> Outage:
    """The outage of a machine that is short of memory, threads or files."""
    return Outage(log, "memory", "(or threads, or files) is short here")


async def _report(lines: Lines, stopping: asyncio.Event) -> None:
    before, rejected_before = _landed(), _rejected()
    while not await pause(_REPORT_S, stopping):
        lines.renew()
        now, rejected = _landed(), _rejected()
        if now > before:
            rate = (now - before) / _REPORT_S
            log.info("landed %s rows (%s rows/s)", f"{now - before:,.0f}", f"{rate:,.0f}")
        for reason, count in rejected.items():
            if more := count - rejected_before.get(reason, 0.0):
                why = _REJECTED.get(reason, reason)
                log.warning("rejected %s rows: %s", f"{more:,.0f}", why)
        before, rejected_before = now, rejected


def _landed() -> float:
    return sum(value for _, value in _totals(metrics.COLLECTOR_ROWS_LANDED))


def _rejected() -> dict[str, float]:
    totals = _totals(metrics.COLLECTOR_ROWS_REJECTED)
    return {labels["reason"]: value for labels, value in totals}


def _totals(counter: Any) -> Iterator[tuple[dict[str, str], float]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, sample.value
