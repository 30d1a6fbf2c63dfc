"""From labels to series ids: sorted arrays of fingerprints, and SQL only for the unseen."""

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
"""Most series that an index remembers, at some 24 bytes each; more than half of them at least."""
_GROWTH = 4  # a table is this many times longer than the next, or becomes one with it
_PIECE = 10_000  # series that one statement asks for or adds: bounds memory


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


@dataclass(frozen=True)
class _Table:
    """Series, each once, sorted by both lanes of their fingerprints."""

    lane_a: UInt64
    lane_b: UInt64
    series_id: Int64

    @classmethod
    def of(cls, lane_a: UInt64, lane_b: UInt64, series_id: Int64) -> _Table:
        """The table of these series, in any order and some of them twice."""
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
        place = np.minimum(np.searchsorted(self.lane_a, lane_a), last)
        while True:
            same_a = self.lane_a[place] == lane_a
            passed = same_a & (self.lane_b[place] != lane_b) & (place < last)
            if not passed.any():
                break
            place = np.where(passed, place + 1, place)
        found = same_a & (self.lane_b[place] == lane_b)
        return np.where(found, self.series_id[place], UNKNOWN)


@dataclass(frozen=True)
class Known:
    """Series that have been met. It never changes, so that threads may look things up.

    Its tables are several, each much longer than the next, so that adding a few series does not
    cost a copy of them all.
    """

    tables: tuple[_Table, ...] = ()

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables)

    def find(self, lane_a: UInt64, lane_b: UInt64) -> Int64:
        """The series id of each fingerprint, or UNKNOWN."""
        found = np.full(len(lane_a), UNKNOWN, np.int64)
        left: Int64 | slice = slice(None)
        for table in self.tables:
            found[left] = table.find(lane_a[left], lane_b[left])
            left = np.flatnonzero(found == UNKNOWN)
            if not left.size:
                break
        return found

    def ids(self, batch: Fingerprinted) -> Int64:
        """The series id of each group of a batch that was learned."""
        found = self.find(batch.lane_a, batch.lane_b)
        assert not (found == UNKNOWN).any(), "looked up before it was learned"
        return found

    def plus(self, lane_a: UInt64, lane_b: UInt64, series_id: Int64) -> Known:
        """With these series as well, none of which it has."""
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
        return Known(tuple(tables))


class SeriesIndex:
    """The series that this process has met of late. Safe for concurrent use on one event loop.

    It has two generations. A series is learned into the young one, from the old one if that has
    it. When the young one has half of all that may be known it becomes the old one, whose series
    are forgotten: those that have not been met for long.
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
        """What knows every series of the batches; those that are new to the store are added to it.

        Raises StoreUnavailable or StoreError.
        """
        known = self._young
        if await asyncio.to_thread(_all_known, known, batches):
            return known
        async with self._learning:
            for batch in batches:
                await self._learn(batch)
            known = self._young
            if len(known) > self._most // 2:
                self._young, self._old = Known(), known
        metrics.COLLECTOR_SERIES.set(len(self))
        return known

    async def _learn(self, batch: Fingerprinted) -> None:
        unknown, found = await asyncio.to_thread(self._look_up, batch)
        for piece in _pieces(unknown[found == UNKNOWN]):
            digests, labels = await asyncio.to_thread(_digests, batch, piece)
            by_digest = await self._ids(digests, labels)
            found[np.searchsorted(unknown, piece)] = [by_digest[key] for key in digests]
        if unknown.size:
            lanes = batch.lane_a[unknown], batch.lane_b[unknown]
            self._young = await asyncio.to_thread(self._young.plus, *lanes, found)

    def _look_up(self, batch: Fingerprinted) -> tuple[Int64, Int64]:
        """The groups that the young generation does not know, and what the old one says of them."""
        young = self._young.find(batch.lane_a, batch.lane_b)
        unknown = np.flatnonzero(young == UNKNOWN)
        return unknown, self._old.find(batch.lane_a[unknown], batch.lane_b[unknown])

    async def _ids(self, digests: list[bytes], labels: list[tuple[str, ...]]) -> dict[bytes, int]:
        async with store_errors(), self._pool.acquire() as connection:
            found = dict(await connection.fetch(self._sql["find_series"], digests))
            missing = {
                key: row for key, row in zip(digests, labels, strict=True) if key not in found
            }
            if missing:
                columns = [list(column) for column in zip(*missing.values(), strict=True)]
                added = await connection.fetch(self._sql["add_series"], list(missing), *columns)
                found |= dict(added)
            if raced := [key for key in missing if key not in found]:
                found |= dict(await connection.fetch(self._sql["find_series"], raced))
        return found


def _all_known(known: Known, batches: Sequence[Fingerprinted]) -> bool:
    return all((known.find(each.lane_a, each.lane_b) != UNKNOWN).all() for each in batches)


def _pieces(groups: Int64) -> Iterator[Int64]:
    for first in range(0, len(groups), _PIECE):
        yield groups[first : first + _PIECE]


def _digests(batch: Fingerprinted, groups: Int64) -> tuple[list[bytes], list[tuple[str, ...]]]:
    labels = batch.groups.labels(groups)
    return [digest(row) for row in labels], labels
