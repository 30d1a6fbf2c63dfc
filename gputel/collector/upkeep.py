"""What a collector does for the store beside landing rows, each now and then."""

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
    """Forget ledger entries older than their window, until ``stopping`` is set."""
    while not await pause(_PRUNE_S, stopping):
        try:
            await writer.prune_ledger(settings.ledger_window_h * 3600)
        except Exception as error:
            log.warning("ledger not pruned: %s", _reason(error))


async def maintain(
    settings: CollectorSettings, maintenance: Maintenance, stopping: asyncio.Event
) -> None:
    """Pass after pass of the store's maintenance, until ``stopping`` is set.

    A pass that is under way then is cut off: each of its transactions is whole or has not happened.
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
        log.warning("maintenance broken off, goes on later: %s", _reason(error))
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
    """Why upkeep is put off. Raises what is neither the store's nor a lack of memory."""
    if not isinstance(error, StoreError) and not is_short(error):
        raise error
    return reason_of(error)
