"""The times of the oldest and the newest sample of GPUs, when samples of theirs are deleted.

To look for what is left of a GPU takes steps into all days of all its series. So this is done
before commits have to wait for the deletion. What lands in between has left notes of its hours
(``rollup_stale``), so only these hours are looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import numpy as np

from gputel.store.blocks.samples import Samples
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.series_reader import moment
from gputel.store.upkeep.batches import BY_INDEX

_SQL = load("delete")
_SPANS_LEFT = _SQL["spans_left"].format(stays=_SQL["stays"])

Bounds = tuple[datetime, datetime, datetime, datetime, tuple[int, ...] | None, list[int]]
"""Which blocks a batch of a deletion takes: the day from its midnight to the next one, the range,
both ends included, the streams or None, the ids of series."""


@dataclass(frozen=True)
class SpansLeft:
    """What is left of GPUs besides the blocks that a deletion takes, and the notes at that time."""

    gpus: Sequence[asyncpg.Record]
    notes: dict[datetime, int]


async def foresee(connection: asyncpg.Connection, bounds: Bounds) -> SpansLeft:
    """What will be left of the GPUs whose times may change, as the store is now.

    Raises StoreUnavailable or StoreError.
    """
    async with store_errors(), connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(BY_INDEX)
        notes = await connection.fetch(_SQL["stale_hours"])
        return SpansLeft(await connection.fetch(_SPANS_LEFT, *bounds), dict(notes))


async def refresh_gpus(
    connection: asyncpg.Connection, bounds: Bounds, spans: SpansLeft, kept: Samples
) -> None:
    """Give GPUs the times that they have now, in the transaction that has taken the blocks.

    No commit is under way. ``kept`` are the samples of these blocks that stay.
    """
    notes = dict(await connection.fetch(_SQL["stale_hours"]))
    late = [hour for hour, count in notes.items() if count > spans.notes.get(hour, 0)]
    names = ("uuid", "first_ts", "last_ts", "series_id")
    columns = [[row[name] for row in spans.gpus] for name in names]
    day, next_day, start, end = bounds[:4]
    within = max(day, start), min(next_day, end)
    await connection.execute(_SQL["refresh_gpus"], *columns, *within, late, *_by_series(kept))


def _by_series(samples: Samples) -> tuple[list[int], list[datetime], list[datetime]]:
    """The ids of series, and the times of their oldest and their newest sample."""
    order = np.lexsort((samples.ts, samples.series_id))
    ids, starts = np.unique(samples.series_id[order], return_index=True)
    ends = np.append(starts[1:], len(order)) - 1
    first, last = (samples.ts[order][places].tolist() for places in (starts, ends[: len(ids)]))
    return ids.tolist(), [moment(us) for us in first], [moment(us) for us in last]
