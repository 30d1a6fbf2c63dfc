"""From labels to series ids: sorted arrays of fingerprints, and SQL only for new series."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
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
MOST_KNOWN = 2_000_000
"""The most series that an index holds, at about 24 bytes each. It holds at least half as many
once it has met them."""
_GROWTH = 4  # a table is at least so many times longer than the next, or they are merged
_PIECE = 10_000  # series that one statement asks for or adds: bounds memory


@dataclass(frozen=True)
class Fingerprinted:
    """One record batch, grouped into series whose fingerprints are known."""

    groups: Groups
    lane_a: UInt64
    lane_b: UInt64


def fingerprint(batch: pa.RecordBatch) -> Fingerprinted:
    """Group a batch's rows by series and fingerprint each series. Holds the CPU: use a thread."""
    groups = group_rows(batch)
    return Fingerprinted(groups, *fingerprints(groups))


@dataclass(frozen=True)
class _Table:
    """Series, each once, sorted by both lanes of their fingerprints."""

    lane_a: UInt64
    lane_b: UInt64
    series_id: Int64

    @classmethod
    def of(cls, lane_a: UInt64, lane_b: UInt64, series_id: Int64) -> _Table:
        """The table of these series, which may be in any order and may repeat."""
        order = np.lexsort((lane_b, lane_a))
        lane_a, lane_b = lane_a[order], lane_b[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (lane_a[1:] != lane_a[:-1]) | (lane_b[1:] != lane_b[:-1])
        return cls(lane_a[new], lane_b[new], series_id[order][new])

    def __len__(self) -> int:
        return len(self.series_id)

    def find(self, lane_a: UInt64, lane_b: UInt64) -> Int64:
        """The series id of each fingerprint, or UNKNOWN.

        Two series may share lane a; they stand side by side then, and lane b tells them apart.
        """
        last = len(self) - 1
        position = np.minimum(np.searchsorted(self.lane_a, lane_a), last)
        while True:
            same_a = self.lane_a[position] == lane_a
            passed = same_a & (self.lane_b[position] != lane_b) & (position < last)
            if not passed.any():
                break
            position = np.where(passed, position + 1, position)
        series_id = same_a & (self.lane_b[position] == lane_b)
        return np.where(series_id, self.series_id[position], UNKNOWN)


@dataclass(frozen=True)
class Known:
    """Series that have been met. It is immutable, so threads may search it.

    It has several tables, each much longer than the next, so that adding a few series does not
    copy all of them. Their ids hold as long as no series are removed from the store: ``removals``
    says how often that had been done before any of them was looked up.
    """

    tables: tuple[_Table, ...] = ()
    removals: int | None = None

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables)

    def find(self, lane_a: UInt64, lane_b: UInt64) -> Int64:
        """The series id of each fingerprint, or UNKNOWN."""
        series_id = np.full(len(lane_a), UNKNOWN, np.int64)
        left: Int64 | slice = slice(None)
        for table in self.tables:
            series_id[left] = table.find(lane_a[left], lane_b[left])
            left = np.flatnonzero(series_id == UNKNOWN)
            if not left.size:
                break
        return series_id

    def ids(self, batch: Fingerprinted) -> Int64:
        """The series id of each group of a batch. The batch must have been learned."""
        series_id = self.find(batch.lane_a, batch.lane_b)
        assert not (series_id == UNKNOWN).any(), "looked up before it was learned"
        return series_id

    def plus(self, lane_a: UInt64, lane_b: UInt64, series_id: Int64) -> Known:
        """A copy that has these series as well. They must be new."""
        tables = [*self.tables, _Table.of(lane_a, lane_b, series_id)]
        while len(tables) > 1 and len(tables[-2]) < _GROWTH * len(tables[-1]):
            one, other = tables[-2:]
            tables[-2:] = [
                _Table.of(
                    np.concatenate((one.lane_a, other.lane_a)),
                    np.concatenate((one.lane_b, other.lane_b)),
                    np.concatenate((one.series_id, other.series_id)),
                )
            ]
        return Known(tuple(tables), self.removals)


class SeriesIndex:
    """The series that this process has met recently. Safe for concurrent use on one event loop.

    It has two generations. A series is learned into the young one, from the old one if it is
    there. When the young one is half full, it replaces the old one. The series of the replaced
    generation, which have not been met for long, are forgotten.
    """

    def __init__(self, pool: asyncpg.Pool, most: int = MOST_KNOWN) -> None:
        self._pool = pool
        self._most = most
        self._young = self._old = Known()
        self._learning = asyncio.Lock()
        self._sql = load("writer")

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    async def learn(self, batches: Sequence[Fingerprinted]) -> Known:
        """An index of every series of the batches. Series that are new are added to the store.

        Raises StoreUnavailable or StoreError.
        """
        known = self._young
        if known.removals is not None and await asyncio.to_thread(_all_known, known, batches):
            return known
        async with self._learning:
            if self._young.removals is None:
                self._young = self._old = Known(removals=await self._removals())
            for batch in batches:
                await self._learn(batch)
            known = self._young
            if len(known) > self._most // 2:
                self._young, self._old = Known(removals=known.removals), known
        metrics.COLLECTOR_SERIES.set(len(self))
        return known

    async def forget(self, known: Known) -> None:
        """Forget all series, if this is still what is known: some of it has been removed."""
        async with self._learning:
            if self._young.removals == known.removals:
                self._young = self._old = Known()

    async def _removals(self) -> int:
        async with store_errors():
            return int(await self._pool.fetchval(self._sql["removals"]))

    async def _learn(self, batch: Fingerprinted) -> None:
        unknown, series_id = await asyncio.to_thread(self._look_up, batch)
        for piece in _pieces(unknown[series_id == UNKNOWN]):
            digests, labels = await asyncio.to_thread(_digests, batch, piece)
            by_digest = await self._ids(digests, labels)
            series_id[np.searchsorted(unknown, piece)] = [by_digest[key] for key in digests]
        if unknown.size:
            lanes = batch.lane_a[unknown], batch.lane_b[unknown]
            self._young = await asyncio.to_thread(self._young.plus, *lanes, series_id)

    def _look_up(self, batch: Fingerprinted) -> tuple[Int64, Int64]:
        """The groups that are not in the young generation, and their ids in the old one."""
        young = self._young.find(batch.lane_a, batch.lane_b)
        unknown = np.flatnonzero(young == UNKNOWN)
        return unknown, self._old.find(batch.lane_a[unknown], batch.lane_b[unknown])

    async def _ids(self, digests: list[bytes], labels: list[tuple[str, ...]]) -> dict[bytes, int]:
        async with store_errors(), self._pool.acquire() as connection:
            ids_by_digest = dict(await connection.fetch(self._sql["find_series"], digests))
            missing = {
                key: row
                for key, row in zip(digests, labels, strict=True)
                if key not in ids_by_digest
            }
            if missing:
                columns = [list(column) for column in zip(*missing.values(), strict=True)]
                added = await connection.fetch(self._sql["add_series"], list(missing), *columns)
                ids_by_digest |= dict(added)
            if raced := [key for key in missing if key not in ids_by_digest]:
                ids_by_digest |= dict(await connection.fetch(self._sql["find_series"], raced))
        return ids_by_digest


def _all_known(known: Known, batches: Sequence[Fingerprinted]) -> bool:
    return all((known.find(each.lane_a, each.lane_b) != UNKNOWN).all() for each in batches)


def _pieces(groups: Int64) -> Iterator[Int64]:
    for first in range(0, len(groups), _PIECE):
        yield groups[first : first + _PIECE]


def _digests(batch: Fingerprinted, groups: Int64) -> tuple[list[bytes], list[tuple[str, ...]]]:
    labels = batch.groups.labels(groups)
    return [digest(row) for row in labels], labels
