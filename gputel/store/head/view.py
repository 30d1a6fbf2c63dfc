"""What is in memory, as readers of many series ask for it; alone, or with older samples."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import EMPTY, Samples, concatenate, micros
from gputel.store.head.newest import with_newer
from gputel.store.head.piece import count_in, merged, piece_of, samples_in
from gputel.store.head.series_table import SeriesTable
from gputel.store.head.state import HeadState
from gputel.store.limits import Limits
from gputel.store.read.known_series import KnownSeries, OrderedSeries
from gputel.store.read.reader import LATEST, Connection
from gputel.store.read.records import Records, SeriesLabels, memory_bytes
from gputel.store.read.selection import Selection
from gputel.store.read.series_reader import LOOK_BACK, moment, newest_of
from gputel.store.read.view import Count, StoredView
from gputel.threads import READING

_IN_THREAD_SERIES = 2_000  # reading fewer takes less time than a thread costs
_IN_THREAD_SAMPLES = 50_000
_AT_ONCE_SAMPLES = 2_000_000
_AT_ONCE_LABELS = 1_000
_LOOK_BACK_US = LOOK_BACK // timedelta(microseconds=1)
_LATEST_US = micros(LATEST)


class HeadView:
    """The memory at one position. Spans must not begin before its floor."""

    def __init__(self, state: HeadState, table: SeriesTable, known: KnownSeries) -> None:
        self._state = state
        self._table = table
        self._known = known

    @property
    def floor_us(self) -> int:
        """From when on it has all samples."""
        return self._state.floor_us

    async def where(
        self, allowed: Mapping[str, Sequence[str]], first_us: int, last_us: int
    ) -> Int64:
        """As SeriesView says. A series may have no sample in the memory."""
        return self._table.where(allowed)

    async def others_of(self, series_ids: Sequence[int]) -> list[int]:
        """As SeriesView says; those that have no sample in the memory may be left out."""
        return self._table.others_of(series_ids)

    async def sampled(self, series_ids: Int64, first_us: int, last_us: int) -> Int64:
        """As SeriesView says."""
        return series_ids[await self._counts(series_ids, first_us, last_us) > 0]

    async def _counts(self, series_ids: Int64, first_us: int, last_us: int) -> Int64:
        """How many samples each of the series has in the time, as ``count_in`` says."""
        pieces = self._state.pieces_in(first_us, last_us)
        many = len(series_ids) > _IN_THREAD_SERIES
        return await READING.run_if(many, count_in, pieces, series_ids, first_us, last_us)

    async def _samples(
        self, series_ids: Int64, first_us: int, last_us: int, expected: int
    ) -> Samples:
        """The samples of the series in the time, which are about as many as expected."""
        pieces = self._state.pieces_in(first_us, last_us)
        many = expected > _IN_THREAD_SAMPLES
        return await READING.run_if(many, samples_in, pieces, series_ids, first_us, last_us)

    async def ends_of(self, series_ids: Int64, first_us: int, last_us: int) -> Samples:
        """As SeriesView says."""
        ends = self._state.ends_in(first_us, last_us)
        return ends.take(np.isin(ends.series_id, series_ids)) if len(ends) else EMPTY

    async def labels_of(self, series_ids: Int64) -> AsyncGenerator[list[SeriesLabels], None]:
        """As SeriesView says."""
        ids = series_ids.tolist()
        for first in range(0, len(ids), _AT_ONCE_LABELS):
            yield self._table.of(ids[first : first + _AT_ONCE_LABELS])

    async def samples_of(
        self, series_ids: Sequence[int], first_us: int, last_us: int, count: Count
    ) -> Samples:
        """As SeriesView says."""
        wanted = np.sort(np.asarray(series_ids, np.int64))
        counts = await self._counts(wanted, first_us, last_us)
        read = []
        for some, expected in _shares(wanted, counts):
            read.append(await self._samples(some, first_us, last_us, expected))
            count(read[-1])
        return concatenate(read)

    async def newest(self, selection: Selection, seen_since: datetime | None, most: int) -> Samples:
        """As SeriesView says."""
        return await self.newest_of_alive(selection, seen_since, self.floor_us)

    async def newest_of_alive(
        self, selection: Selection, seen_since: datetime | None, alive_us: int
    ) -> Samples:
        """The same of GPUs that were last seen at that time or later."""
        many = len(self._state.newest) > _IN_THREAD_SERIES
        return await READING.run_if(many, self._newest, selection, seen_since, alive_us)

    def _newest(self, selection: Selection, seen_since: datetime | None, alive_us: int) -> Samples:
        newest = self._state.newest
        gpu = self._table.gpu_of(newest.series_id)
        seen = np.full(int(gpu.max(initial=-1)) + 1, np.iinfo(np.int64).min)
        np.maximum.at(seen, gpu, newest.ts)
        since = seen[gpu] - _LOOK_BACK_US if seen_since is None else micros(seen_since)
        selected = np.isin(newest.series_id, self._table.selected(selection))
        found = newest.take(selected & (newest.ts >= since) & (seen[gpu] >= alive_us))
        ends = self._state.ends_in(self.floor_us, _LATEST_US)
        if not len(ends):
            return found
        ends = ends.take(np.lexsort((ends.ts, ends.series_id)))
        last = with_newer(EMPTY, ends)
        return found.take(~_ended(found, last))

    async def there(
        self, series_ids: Sequence[int], times_us: Sequence[int], within_us: int
    ) -> list[bool]:
        """As SeriesView says."""
        found = []
        for series_id, at in zip(series_ids, times_us, strict=True):
            first, last = at - within_us, at + within_us
            pieces = self._state.pieces_in(first, last)
            found.append(bool(count_in(pieces, np.array([series_id]), first, last)[0]))
        return found

    async def ordered(self, series_ids: Int64, limits: Limits) -> OrderedSeries:
        """As SeriesView says."""
        known = self._known.order_of(series_ids)
        if known is not None:
            return known
        labels = self._table.of(series_ids.tolist())
        limits.check_bytes(sum(map(memory_bytes, labels)))
        many = len(labels) > _IN_THREAD_SERIES
        return await READING.run_if(many, self._known.order, series_ids, labels)

    async def few_records(
        self, selection: Selection, first_us: int, last_us: int, limits: Limits, most: int
    ) -> Records | None:
        """As SeriesView says."""
        ids = self._table.selected(selection)
        counts = await self._counts(ids, first_us, last_us)
        ids = ids[counts > 0]
        limits.check_series(len(ids))
        labels = self._table.of(ids.tolist())
        limits.check_bytes(sum(map(memory_bytes, labels)))
        samples = int(counts.sum())
        if samples > most:
            return None
        read = await self._samples(ids, first_us, last_us, samples)
        return Records(read, dict(zip(ids.tolist(), labels, strict=True)))


class JoinedView(StoredView):
    """A snapshot of Postgres, and the memory at the same position for what is newer."""

    def __init__(self, connection: Connection, known: KnownSeries, head: HeadView) -> None:
        super().__init__(connection, known)
        self._head = head
        self._floor_us = head.floor_us

    async def sampled(self, series_ids: Int64, first_us: int, last_us: int) -> Int64:
        """As SeriesView says."""
        older, newer = self._spans(first_us, last_us)
        found = []
        if newer:
            found.append(await self._head.sampled(series_ids, *newer))
            series_ids = np.setdiff1d(series_ids, found[0], assume_unique=True)
        if older and len(series_ids):
            found.append(await super().sampled(series_ids, *older))
        return np.sort(np.concatenate(found or [np.empty(0, np.int64)]))

    async def samples_of(
        self, series_ids: Sequence[int], first_us: int, last_us: int, count: Count
    ) -> Samples:
        """As SeriesView says."""
        older, newer = self._spans(first_us, last_us)
        read = []
        if older:
            read.append(await super().samples_of(series_ids, *older, count))
        if newer:
            read.append(await self._head.samples_of(series_ids, *newer, count))
        pieces = [piece_of(samples) for samples in read if len(samples)]
        if len(pieces) < 2:
            return next((samples for samples in read if len(samples)), EMPTY)
        many = sum(map(len, pieces)) > _IN_THREAD_SAMPLES
        return await READING.run_if(many, merged, pieces)

    async def newest(self, selection: Selection, seen_since: datetime | None, most: int) -> Samples:
        """As SeriesView says."""
        if seen_since is not None:
            return await super().newest(selection, seen_since, most)
        alive_us = self._floor_us + _LOOK_BACK_US
        before = moment(alive_us)
        silent = await newest_of(self._connection, selection, None, most, before)
        return concatenate([silent, await self._head.newest_of_alive(selection, None, alive_us)])

    async def there(
        self, series_ids: Sequence[int], times_us: Sequence[int], within_us: int
    ) -> list[bool]:
        """As SeriesView says."""
        if min(times_us, default=self._floor_us) - within_us < self._floor_us:
            return await super().there(series_ids, times_us, within_us)
        return await self._head.there(series_ids, times_us, within_us)

    def _spans(
        self, first_us: int, last_us: int
    ) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """What of the time is older than the floor, and what is not."""
        older = (first_us, min(last_us, self._floor_us - 1)) if first_us < self._floor_us else None
        newer = (max(first_us, self._floor_us), last_us) if last_us >= self._floor_us else None
        return older, newer


def _ended(newest: Samples, ends: Samples) -> npt.NDArray[np.bool_]:
    """Which series ended at their newest sample or later; ``ends`` has the last end of each."""
    place = np.searchsorted(ends.series_id, newest.series_id)
    place[place == len(ends)] = 0
    found: npt.NDArray[np.bool_] = ends.series_id[place] == newest.series_id
    return found & (ends.ts[place] >= newest.ts)


def _shares(wanted: Int64, counts: Int64) -> list[tuple[Int64, int]]:
    """The series in shares of bounded size, with the number of samples of each share."""
    so_far = np.cumsum(counts)
    if not len(so_far) or so_far[-1] <= _AT_ONCE_SAMPLES:
        return [(wanted[counts > 0], int(so_far[-1]))] if len(so_far) else []
    share = (so_far - 1) // _AT_ONCE_SAMPLES
    return [
        (wanted[of][counts[of] > 0], int(counts[of].sum()))
        for of in (np.flatnonzero(share == number) for number in np.unique(share))
    ]
