"""One client of the stream: its bounded queue of records."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from gputel.api.stream.position import StreamPosition
from gputel.store.read.records import Records
from gputel.store.read.selection import Selection
from gputel.store.write.recent_landings import LandingPosition, LandingWindow
from gputel.threads import READING

_MOST_SERIES = 50_000
_AT_ONCE = 1000  # series that a thread checks in one go


@dataclass(frozen=True, eq=False)
class LandedBatch:
    """Some records of a window, and whether they are the last of it."""

    window: LandingWindow
    records: Records
    is_last: bool


class Gap:
    """Some records were not kept and cannot be sent."""


@dataclass(frozen=True)
class Lag:
    """Some records were dropped because the client was too slow."""

    dropped: int


@dataclass(frozen=True)
class ClientRecords:
    """Records for one client. ``first`` is the index of the first one within its window, from 0."""

    batch: LandedBatch
    records: Records
    first: int

    def positions(self) -> Iterator[StreamPosition]:
        """The position of the client after each record."""
        window, count = self.batch.window, len(self.records)
        position = StreamPosition(window.after, window.until.snapshot)
        for passed in range(self.first + 1, self.first + count):
            yield replace(position, passed=passed)
        if count:
            end = StreamPosition(window.until)
            yield end if self.batch.is_last else replace(position, passed=self.first + count)


class RecordFilter:
    """Selects the records that match the filters of a client, and counts them in each window.

    Call ``select`` with the batches in order. Before that, ``knows`` has to be true for a batch, or
    ``learn`` has to be called for it.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._chosen: dict[int, bool] = {}
        self._window: LandingWindow | None = None
        self._passed = 0

    def knows(self, records: Records) -> bool:
        """Whether it is known for all series of these records if they match."""
        return not self._selection.conditions or records.series.keys() <= self._chosen.keys()

    async def learn(self, records: Records) -> None:
        """Find out which of their series match; in a thread, as patterns can take long."""
        if len(self._chosen) > _MOST_SERIES:
            self._chosen = {}
        new = [labels for each, labels in records.series.items() if each not in self._chosen]
        for start in range(0, len(new), _AT_ONCE):
            piece = new[start : start + _AT_ONCE]
            matches = await READING.run(self._selection.holds, piece)
            ids = (labels.series_id for labels in piece)
            self._chosen |= zip(ids, matches.tolist(), strict=True)

    def select(self, batch: LandedBatch, skip: int = 0) -> ClientRecords:
        """The records of a batch for the client, without the first ``skip`` of the window."""
        records = self._matching(batch.records)
        if batch.window is not self._window:
            self._window, self._passed = batch.window, 0
        first, self._passed = self._passed, self._passed + len(records)
        if first < skip:
            records = Records(records.samples.take(slice(skip - first, None)), records.series)
            first = self._passed - len(records)
        return ClientRecords(batch, records, first)

    def _matching(self, records: Records) -> Records:
        if not self._selection.conditions:
            return records
        chosen = [each for each in records.series if self._chosen[each]]
        return Records(
            records.samples.take(np.isin(records.samples.series_id, chosen)), records.series
        )


class Subscriber:
    """A queue of at most ``most`` records, or of one batch. A new batch drops the oldest ones.

    It gets all records after the position ``start`` if ``is_complete`` is true. If it is false,
    records that were being stored at that time may be missing.
    """

    def __init__(
        self, selection: Selection, most: int, start: LandingPosition, is_complete: bool
    ) -> None:
        self.start = start
        self.is_complete = is_complete
        self._reached: LandingPosition | None = start
        self._filter = RecordFilter(selection)
        self.closed = False
        self._most = most
        self._items: deque[LandedBatch | Gap] = deque()
        self._queued = 0
        self._dropped = 0
        self._news = asyncio.Event()

    def offer(self, item: LandedBatch | Gap) -> None:
        """Add to the end of the queue."""
        self._reached = None
        self._items.append(item)
        if isinstance(item, LandedBatch):
            self._queued += len(item.records)
            self._make_room()
        self._news.set()

    def reach(self, position: LandingPosition) -> None:
        """Note that all records up to this position have been offered."""
        self._reached = position

    @property
    def position(self) -> LandingPosition | None:
        """The position up to which the client has taken all; None within one window."""
        return None if self._items or self._dropped else self._reached

    def close(self) -> None:
        """End the queue: nothing more will be offered."""
        self.closed = True
        self._news.set()

    async def take(self, wait_s: float) -> ClientRecords | Lag | Gap | None:
        """The next item for the client; None after ``wait_s`` without one, or if it is closed."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_s
        while not self.closed:
            if self._dropped:
                lag, self._dropped = Lag(self._dropped), 0
                return lag
            if self._items:
                item = await self._first()
                if item is not None:
                    return item
            elif not await self._has_news(deadline):
                return None
            if clock() > deadline:
                return None
        return None

    async def _first(self) -> ClientRecords | Gap | None:
        """The first item; None if it has nothing for the client, or the caller has to try again."""
        item = self._items[0]
        if isinstance(item, LandedBatch):
            if not self._filter.knows(item.records):
                await self._filter.learn(item.records)
                return None
            self._queued -= len(item.records)
        self._items.popleft()
        if isinstance(item, Gap):
            return item
        delivery = self._filter.select(item)
        return delivery if len(delivery.records) else None

    async def _has_news(self, deadline: float) -> bool:
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._news.wait()
        return self._news.is_set()

    def _make_room(self) -> None:
        while self._queued > self._most:
            oldest = next(item for item in self._items if isinstance(item, LandedBatch))
            if oldest is self._items[-1]:
                return
            if not self._filter.knows(oldest.records):
                # Only a thread could say how many records are lost. The client connects again.
                self.close()
                return
            self._items.remove(oldest)
            self._queued -= len(oldest.records)
            self._dropped += len(self._filter.select(oldest).records)
