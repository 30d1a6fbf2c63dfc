"""What a deletion would take away: how many samples of what, and from when to when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import product

import asyncpg
import numpy as np

from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import decode_rows, lengths
from gputel.store.days import day_span
from gputel.store.pool import store_errors
from gputel.store.read.series_reader import moment
from gputel.store.upkeep.batches import BY_INDEX
from gputel.store.upkeep.conditions import SQL, Deletion, series_pieces

_FETCH = 10_000
_FETCH_BLOCKS = 64  # of 65,536 samples at most


@dataclass(frozen=True)
class Survey:
    """What a deletion would take away. ``bytes`` are those of blocks, cut ones in proportion."""

    series: int = 0
    gpus: int = 0
    hosts: int = 0
    samples: int = 0
    blocks: int = 0
    bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None
    rollup_minutes: int = 0
    """Minutes of rollups whose samples the retention has dropped already."""
    rollup_minutes_cut: int = 0
    """Such minutes that the range cuts: they stay, because no sample is left to make them of."""
    rollup_days_left: int = 0
    """Days of which only rollups are left, which do not tell streams: they stay."""
    repeating_streams: int = 0
    """Other streams that brought samples again since these began, perhaps some of these."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not self.samples and not self.rollup_minutes


class _Count:
    def __init__(self, deletion: Deletion) -> None:
        self._deletion = deletion
        self.series: Int64 = np.empty(0, np.int64)
        self.totals = Counter[str]()  # by the names of Survey
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add_whole(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add series whose blocks lie in the range."""
        for name in ("samples", "blocks", "bytes"):
            self.totals[name] += sum(row[name] for row in rows)
        self._add_series(rows)

    def add_cut(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add blocks that the range may cut."""
        samples = decode_rows(rows)
        inside = self._deletion.includes(samples.ts)
        counts = lengths([row["value"] for row in rows])
        block = np.repeat(np.arange(len(rows)), counts)
        within = np.bincount(block[inside], minlength=len(rows))
        sizes = np.array([row["bytes"] for row in rows], np.int64) * within // np.maximum(1, counts)
        if inside.any():
            self.totals["samples"] += int(inside.sum())
            self.totals["blocks"] += int((within > 0).sum())
            self.totals["bytes"] += int(sizes.sum())
            ts = samples.ts[inside]
            ids = np.unique(samples.series_id[inside])
            self._add(ids, moment(int(ts.min())), moment(int(ts.max())))

    def add_minutes(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add series of which only rollups are left."""
        self.totals["rollup_minutes"] += sum(row["minutes"] for row in rows)
        self.totals["rollup_minutes_cut"] += sum(row["cut"] for row in rows)
        self._add_series([row for row in rows if row["minutes"]])

    def _add_series(self, rows: Sequence[asyncpg.Record]) -> None:
        if rows:
            ids = np.array([row["series_id"] for row in rows], np.int64)
            first, last = (row["first_ts"] for row in rows), (row["last_ts"] for row in rows)
            self._add(ids, min(first), max(last))

    def _add(self, ids: Int64, first: datetime, last: datetime) -> None:
        self.series = np.union1d(self.series, ids)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


async def survey(
    connection: asyncpg.Connection, deletion: Deletion, streams: tuple[int, ...] | None
) -> Survey:
    """What there is to delete, as one snapshot of the store shows it.

    Heads of blocks are read, and the samples of those that the range cuts. Raises StoreUnavailable
    or StoreError.
    """
    count = _Count(deletion)
    read = partial(_rows, connection)
    async with (
        store_errors(),
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        days = await connection.fetch(SQL["days"], *deletion.span)
        pieces = await series_pieces(connection, deletion)
        if pieces != [None]:
            await connection.execute(BY_INDEX)
        for (day, part), ids in product(days, pieces):
            bounds = *day_span(day), *deletion.span, streams, ids
            if part:
                async for rows in read("whole", *bounds):
                    count.add_whole(rows)
                async for rows in read("cut", *bounds, at_once=_FETCH_BLOCKS):
                    await asyncio.to_thread(count.add_cut, rows)
            elif streams is None:
                async for rows in read("minutes", *bounds):
                    count.add_minutes(rows)
        left = sum(part is None for _, part in days) if streams else 0
        owners = await connection.fetchrow(SQL["owners"], count.series.tolist())
        repeating = await connection.fetchval(SQL["repeating_streams"], streams or ())
    return Survey(
        series=len(count.series),
        first=count.first,
        last=count.last,
        rollup_days_left=left,
        repeating_streams=repeating if streams else 0,
        **owners,
        **count.totals,
    )


async def _rows(
    connection: asyncpg.Connection, statement: str, *arguments: object, at_once: int = _FETCH
) -> AsyncIterator[list[asyncpg.Record]]:
    cursor = await connection.cursor(SQL[statement], *arguments)
    while rows := await cursor.fetch(at_once):
        yield rows
