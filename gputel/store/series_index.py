"""From labels to series ids: a sorted array of fingerprints, and SQL only for the unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel import metrics
from gputel.model.series import Groups, UInt64, digest, fingerprints, group_rows
from gputel.store.pool import store_errors
from gputel.store.queries import load

Int64 = npt.NDArray[np.int64]
UNKNOWN = -1
NEVER_US = np.iinfo(np.int64).max  # first_us of a series that has no sample yet


@dataclass(frozen=True)
class Known:
    """An immutable table of series, sorted by both lanes of their fingerprints.

    Threads look things up in one while the event loop puts a longer one in its place.
    """

    lane_a: UInt64
    lane_b: UInt64
    series_id: Int64
    first_us: Int64

    @classmethod
    def empty(cls) -> Known:
        """No series at all."""
        lanes, numbers = np.empty(0, np.uint64), np.empty(0, np.int64)
        return cls(lanes, lanes, numbers, numbers)

    def find(self, lane_a: UInt64, lane_b: UInt64) -> Int64:
        """The place of each fingerprint in this table, or UNKNOWN.

        Two series may share lane a; they stand side by side then, and lane b tells them apart.
        """
        if not len(self.lane_a):
            return np.full(len(lane_a), UNKNOWN, np.int64)
        last = len(self.lane_a) - 1
        place = np.minimum(np.searchsorted(self.lane_a, lane_a), last)
        while True:
            same_a = self.lane_a[place] == lane_a
            passed = same_a & (self.lane_b[place] != lane_b) & (place < last)
            if not passed.any():
                break
            place = np.where(passed, place + 1, place)
        found = same_a & (self.lane_b[place] == lane_b)
        return np.where(found, place, UNKNOWN)

    def plus(self, other: Known) -> Known:
        """Both tables in one."""
        lane_a = np.concatenate((self.lane_a, other.lane_a))
        lane_b = np.concatenate((self.lane_b, other.lane_b))
        order = np.lexsort((lane_b, lane_a))
        return Known(
            lane_a[order],
            lane_b[order],
            np.concatenate((self.series_id, other.series_id))[order],
            np.concatenate((self.first_us, other.first_us))[order],
        )


@dataclass(frozen=True)
class Fingerprinted:
    """One record batch, grouped into series whose fingerprints are known."""

    groups: Groups
    lane_a: UInt64
    lane_b: UInt64


def fingerprint(batch: pa.RecordBatch) -> Fingerprinted:
    """Group a batch's rows by series and fingerprint each; holds the CPU, run it in a thread."""
    groups = group_rows(batch)
    return Fingerprinted(groups, *fingerprints(groups))


class SeriesIndex:
    """The series that this process has met. Safe for concurrent use on one event loop."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known = Known.empty()
        self._adding = asyncio.Lock()
        self._sql = load("writer")

    def __len__(self) -> int:
        return len(self._known.series_id)

    async def learn(self, batches: Sequence[Fingerprinted]) -> None:
        """Make every series of the batches known, adding to the store those that are new there.

        Raises StoreUnavailable or StoreError.
        """
        if not any(self._unknown(batch).size for batch in batches):
            return
        async with self._adding:
            for batch in batches:
                unknown = self._unknown(batch)
                if unknown.size:
                    await self._learn(batch, unknown)
        metrics.COLLECTOR_SERIES.set(len(self))

    def resolve(self, batch: Fingerprinted) -> tuple[Int64, Int64]:
        """The series id, and the time of the oldest sample landed, of each group of the batch.

        The batch must have been learned.
        """
        known = self._known
        place = known.find(batch.lane_a, batch.lane_b)
        assert not (place == UNKNOWN).any(), "resolve before learn"
        return known.series_id[place], known.first_us[place]

    def lower(self, series_id: Int64, first_us: Int64) -> None:
        """Note that these series (sorted by id) now have samples as old as ``first_us``."""
        known = self._known
        at = np.minimum(np.searchsorted(series_id, known.series_id), len(series_id) - 1)
        hit = series_id[at] == known.series_id
        lowered = np.where(hit, np.minimum(known.first_us, first_us[at]), known.first_us)
        self._known = Known(known.lane_a, known.lane_b, known.series_id, lowered)

    def _unknown(self, batch: Fingerprinted) -> Int64:
        return np.flatnonzero(self._known.find(batch.lane_a, batch.lane_b) == UNKNOWN)

    async def _learn(self, batch: Fingerprinted, unknown: Int64) -> None:
        labels = batch.groups.labels(unknown)
        rows = await self._ids([digest(row) for row in labels], labels)
        learned = Known(
            batch.lane_a[unknown],
            batch.lane_b[unknown],
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.int64),
        )
        _, first = np.unique(np.stack((learned.lane_a, learned.lane_b)), axis=1, return_index=True)
        distinct = Known(
            learned.lane_a[first],
            learned.lane_b[first],
            learned.series_id[first],
            learned.first_us[first],
        )
        self._known = self._known.plus(distinct)

    async def _ids(
        self, digests: list[bytes], labels: list[tuple[str, ...]]
    ) -> list[tuple[int, int]]:
        async with store_errors(), self._pool.acquire() as connection:
            found = await self._find(connection, digests)
            missing = {
                key: row for key, row in zip(digests, labels, strict=True) if key not in found
            }
            if missing:
                columns = [list(column) for column in zip(*missing.values(), strict=True)]
                await connection.execute(self._sql["add_series"], list(missing), *columns)
                found |= await self._find(connection, list(missing))
        return [found[key] for key in digests]

    async def _find(
        self, connection: asyncpg.Connection, digests: list[bytes]
    ) -> dict[bytes, tuple[int, int]]:
        rows = await connection.fetch(self._sql["find_series"], digests)
        return {
            row["digest"]: (
                row["series_id"],
                NEVER_US if row["first_us"] is None else row["first_us"],
            )
            for row in rows
        }
