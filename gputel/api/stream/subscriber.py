"""One client of the stream: what it has not taken yet, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from gputel.api.stream.place import Place
from gputel.store.read.records import Records
from gputel.store.read.selection import Selection
from gputel.store.write.landing import LandingPosition, LandingWindow
from gputel.threads import READING

_MOST_KNOWN = 50_000
_AT_ONCE = 1000  # series that a thread looks at


@dataclass(frozen=True, eq=False)
class Batch:
    """Some records of a window, and whether they are the last of it."""

    window: LandingWindow
    records: Records
    is_last: bool


class Gap:
    """Some records were not kept, and do not come."""


@dataclass(frozen=True)
class Lag:
    """Records that came while the client was slow, and were dropped."""

    dropped: int


@dataclass(frozen=True)
class Delivery:
    """Records for a client: the first of them is record ``first`` of its window, from 0."""

    batch: Batch
    records: Records
    first: int

    def places(self) -> Iterator[Place]:
        """Where the client is after each record."""
        window, count = self.batch.window, len(self.records)
        place = Place(window.after, window.until.snapshot)
        for passed in range(self.first + 1, self.first + count):
            yield replace(place, passed=passed)
        if count:
            whole = Place(window.until)
            yield whole if self.batch.is_last else replace(place, passed=self.first + count)


class Sieve:
    """Chooses the records of selected series, and counts those of a window.

    Batches come to ``deliver`` in order, each once ``learn`` has met its series.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._chosen: dict[int, bool] = {}
        self._window: LandingWindow | None = None
        self._passed = 0

    def knows(self, records: Records) -> bool:
        """Whether it has met all series of these records."""
        return not self._selection.conditions or records.series.keys() <= self._chosen.keys()

    async def learn(self, records: Records) -> None:
        """Meet their series: in a thread, as patterns can take long."""
        if len(self._chosen) > _MOST_KNOWN:
            self._chosen = {}
        new = [labels for each, labels in records.series.items() if each not in self._chosen]
        for start in range(0, len(new), _AT_ONCE):
            piece = new[start : start + _AT_ONCE]
            held = await READING.run(self._selection.holds, piece)
            ids = (labels.series_id for labels in piece)
            self._chosen |= zip(ids, held.tolist(), strict=True)

    def deliver(self, batch: Batch, skip: int = 0) -> Delivery:
        """What the client gets of a batch, without the first ``skip`` records of its window."""
        records = self._select(batch.records)
        if batch.window is not self._window:
            self._window, self._passed = batch.window, 0
        first, self._passed = self._passed, self._passed + len(records)
        if first < skip:
            records = Records(records.samples.take(slice(skip - first, None)), records.series)
            first = self._passed - len(records)
        return Delivery(batch, records, first)

    def _select(self, records: Records) -> Records:
        if not self._selection.conditions:
            return records
        chosen = [each for each in records.series if self._chosen[each]]
        return Records(
            records.samples.take(np.isin(records.samples.series_id, chosen)), records.series
        )


class Subscriber:
    """A queue of at most ``most`` records, or one batch: the oldest batches make room for new ones.

    ``start`` is the position after which it is told of everything, if ``whole``: else what was
    landing at that time may be missing.
    """

    def __init__(
        self, selection: Selection, most: int, start: LandingPosition, whole: bool
    ) -> None:
        self.start = start
        self.whole = whole
        self._reached: LandingPosition | None = start
        self._sieve = Sieve(selection)
        self.closed = False
        self._most = most
        self._items: deque[Batch | Gap] = deque()
        self._held = 0
        self._dropped = 0
        self._news = asyncio.Event()

    def offer(self, item: Batch | Gap) -> None:
        """Put it last."""
        self._reached = None
        self._items.append(item)
        if isinstance(item, Batch):
            self._held += len(item.records)
            self._make_room()
        self._news.set()

    def reach(self, position: LandingPosition) -> None:
        """All up to this position has been offered."""
        self._reached = position

    @property
    def position(self) -> LandingPosition | None:
        """Up to where all has been taken; None in the midst of what landed at once."""
        return None if self._items or self._dropped else self._reached

    def close(self) -> None:
        """No more will come."""
        self.closed = True
        self._news.set()

    async def take(self, wait_s: float) -> Delivery | Lag | Gap | None:
        """What comes next for the client; None where nothing does for ``wait_s``, or no more."""
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

    async def _first(self) -> Delivery | Gap | None:
        """The first item; None where the client gets nothing of it, or has to look once more."""
        item = self._items[0]
        if isinstance(item, Batch):
            if not self._sieve.knows(item.records):
                await self._sieve.learn(item.records)
                return None
            self._held -= len(item.records)
        self._items.popleft()
        if isinstance(item, Gap):
            return item
        delivery = self._sieve.deliver(item)
        return delivery if len(delivery.records) else None

    async def _has_news(self, deadline: float) -> bool:
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._news.wait()
        return self._news.is_set()

    def _make_room(self) -> None:
        while self._held > self._most:
            oldest = next(item for item in self._items if isinstance(item, Batch))
            if oldest is self._items[-1]:
                return
            if not self._sieve.knows(oldest.records):
                self.close()  # as only a thread could tell what is lost: the client comes back
                return
            self._items.remove(oldest)
            self._held -= len(oldest.records)
            self._dropped += len(self._sieve.deliver(oldest).records)
