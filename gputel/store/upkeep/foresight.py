"""What is left of GPUs and series when samples of theirs are deleted.

To look for it takes steps into all days of all series of a GPU. So this is done before commits have
to wait for the deletion. What lands in between has left notes of its hours (``rollup_stale``), so
only these hours are looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import numpy as np

from gputel.store.blocks.samples import Samples
from gputel.store.pool import store_errors
from gputel.store.read.series_reader import moment
from gputel.store.upkeep.batches import BY_INDEX
from gputel.store.upkeep.conditions import SQL

_SPANS_LEFT, _EMPTIED = (SQL[name].format(stays=SQL["stays"]) for name in ("spans_left", "emptied"))

Bounds = tuple[datetime, datetime, datetime, datetime, tuple[int, ...] | None, list[int]]
"""Which blocks a batch of a deletion takes: the day from its midnight to the next one, the range,
both ends included, the streams or None, the ids of series."""


@dataclass(frozen=True)
class Foresight:
    """What is left besides the blocks that a deletion takes, and the notes at that time.

    ``gpus`` are those whose times may change, ``emptied`` the series without anything, with GPUs.
    """

    bounds: Bounds
    gpus: Sequence[asyncpg.Record]
    emptied: dict[int, str]
    notes: dict[datetime, int]

    async def refresh_gpus(self, connection: asyncpg.Connection, kept: Samples) -> None:
        """Give GPUs the times that they have now, in the transaction that has taken the blocks.

        No commit is under way. ``kept`` are the samples of these blocks that stay.
        """
        names = ("uuid", "first_ts", "last_ts", "series_id")
        columns = [[row[name] for row in self.gpus] for name in names]
        day, next_day, start, end = self.bounds[:4]
        within = max(day, start), min(next_day, end)
        late = await self._late_hours(connection)
        await connection.execute(SQL["refresh_gpus"], *columns, *within, late, *_by_series(kept))

    async def empty_series(self, connection: asyncpg.Connection) -> dict[int, str]:
        """The series of the batch that have nothing now, with their GPUs, in that transaction.

        With other empty series of these GPUs: a GPU must not stay for one without any sample.
        """
        late = await self._late_hours(connection)
        day, next_day = self.bounds[:2]
        candidates = list(self.emptied)
        filled = await connection.fetch(SQL["filled"], candidates, day, next_day, late)
        empty = self.emptied.keys() - {row[0] for row in filled}
        uuids = {self.emptied[each] for each in empty & {*self.bounds[5]}}
        return {each: self.emptied[each] for each in empty if self.emptied[each] in uuids}

    async def _late_hours(self, connection: asyncpg.Connection) -> list[datetime]:
        """The hours of what has landed since."""
        notes = await connection.fetch(SQL["stale_hours"])
        return [hour for hour, count in notes if count > self.notes.get(hour, 0)]


async def foresee(connection: asyncpg.Connection, bounds: Bounds) -> Foresight:
    """What will be left when these blocks have been taken, as the store is now.

    Raises StoreUnavailable or StoreError.
    """
    async with store_errors(), connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(BY_INDEX)
        return Foresight(
            bounds,
            await connection.fetch(_SPANS_LEFT, *bounds),
            dict(await connection.fetch(_EMPTIED, *bounds)),
            dict(await connection.fetch(SQL["stale_hours"])),
        )


def _by_series(samples: Samples) -> tuple[list[int], list[datetime], list[datetime]]:
    """The ids of series, and the times of their oldest and their newest sample."""
    order = np.lexsort((samples.ts, samples.series_id))
    ids, starts = np.unique(samples.series_id[order], return_index=True)
    ends = np.append(starts[1:], len(order)) - 1
    first, last = (samples.ts[order][places].tolist() for places in (starts, ends[: len(ids)]))
    return ids.tolist(), [moment(us) for us in first], [moment(us) for us in last]
