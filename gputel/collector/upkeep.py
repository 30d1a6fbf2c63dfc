"""Regular upkeep of the store: pruning the ledger, and maintenance."""

from __future__ import annotations

import asyncio
import logging

from gputel.backoff import pause
from gputel.config.settings import CollectorSettings
from gputel.errors import StoreError
from gputel.failures import is_short, reason_of
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.write.writer import Writer

log = logging.getLogger("gputel.collector")

_PRUNE_S = 600.0


async def prune(settings: CollectorSettings, writer: Writer, stopping: asyncio.Event) -> None:
    """Delete ledger entries older than the window, again and again until ``stopping`` is set."""
    while not await pause(_PRUNE_S, stopping):
        try:
            await writer.prune_ledger(settings.ledger_window_h * 3600)
        except Exception as error:
            log.warning("ledger not pruned: %s", _reason(error))


async def maintain(
    settings: CollectorSettings, maintenance: Maintenance, stopping: asyncio.Event
) -> None:
    """Run the store's maintenance again and again until ``stopping`` is set.

    A running pass is cancelled then; each of its transactions is complete or has no effect.
    """
    if not settings.maintenance_interval_s:
        return
    while not await pause(settings.maintenance_interval_s, stopping):
        work = asyncio.create_task(_pass(maintenance))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stop):
            task.cancel()
        await asyncio.wait((work, stop))


async def _pass(maintenance: Maintenance) -> None:
    try:
        work = await maintenance.run()
    except Exception as error:
        log.warning("maintenance interrupted, it continues later: %s", _reason(error))
        return
    if work and work.rolled_up_hours:
        hours = work.rolled_up_hours
        log.info("made the rollups of %d %s", hours, "hour" if hours == 1 else "hours")
    if work and work.merged.blocks_before:
        log.info(
            "merged %s blocks into %s",
            f"{work.merged.blocks_before:,}",
            f"{work.merged.blocks_after:,}",
        )


def _reason(error: Exception) -> str:
    """Why upkeep is postponed. Raises errors other than the store's and a lack of memory."""
    if not isinstance(error, StoreError) and not is_short(error):
        raise error
    return reason_of(error)
