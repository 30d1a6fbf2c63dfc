"""What readers of many series ask, wherever the samples are: in Postgres, or in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Protocol

from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import Samples
from gputel.store.limits import Limits
from gputel.store.read import series_reader
from gputel.store.read.known_series import KnownSeries, OrderedSeries
from gputel.store.read.reader import Connection, Reader
from gputel.store.read.records import Records, SeriesLabels
from gputel.store.read.selection import Selection

Count = Callable[[Samples], None]
"""Is called with each batch of samples that is read. It may raise to stop."""


class SeriesView(Protocol):
    """One state of the store. Times are Unix microseconds, spans include both ends."""

    async def where(
        self, allowed: Mapping[str, Sequence[str]], first_us: int, last_us: int
    ) -> Int64:
        """The ids of the series whose labels have one of the allowed values, in order.

        ``allowed`` has the values by label, each one of LABELS. A series may have no sample in the
        time: ``sampled`` tells. One that has is found.
        """
        ...

    async def others_of(self, series_ids: Sequence[int]) -> list[int]:
        """The ids of all other series of the same metrics and GPUs as these."""
        ...

    async def sampled(self, series_ids: Int64, first_us: int, last_us: int) -> Int64:
        """Of these series, which are in order, those that have samples in the time, in order."""
        ...

    async def ends_of(self, series_ids: Int64, first_us: int, last_us: int) -> Samples:
        """When these series ended in the time: samples with the stale marker, in no set order."""
        ...

    def labels_of(self, series_ids: Int64) -> AsyncGenerator[list[SeriesLabels], None]:
        """The labels of these series, in batches."""
        ...

    async def samples_of(
        self, series_ids: Sequence[int], first_us: int, last_us: int, count: Count
    ) -> Samples:
        """All samples of the series in the time, in order of series and time, each instant once."""
        ...

    async def newest(self, selection: Selection, seen_since: datetime | None, most: int) -> Samples:
        """The newest sample of each selected series, in no set order.

        Those with a sample since ``seen_since``, or, if that is None, in the LOOK_BACK before the
        newest sample of their GPU, and that their source has not ended since. They may be more than
        ``most``, at least by one, if there are more.
        """
        ...

    async def there(
        self, series_ids: Sequence[int], times_us: Sequence[int], within_us: int
    ) -> list[bool]:
        """Whether each of the series has a sample at most ``within_us`` from its time."""
        ...

    async def ordered(self, series_ids: Int64, limits: Limits) -> OrderedSeries:
        """The labels of these series in order. Raises QueryTooLarge over the limit of bytes."""
        ...

    async def few_records(
        self, selection: Selection, first_us: int, last_us: int, limits: Limits, most: int
    ) -> Records | None:
        """The records of the selected series in the time, in order of series and time.

        None if they may be more than ``most``, or Postgres has to look for them. Raises
        QueryTooLarge if more series have some than the limits allow.
        """
        ...


class StoredView:
    """A snapshot of Postgres."""

    def __init__(self, connection: Connection, known: KnownSeries) -> None:
        self._connection = connection
        self._known = known

    async def where(
        self, allowed: Mapping[str, Sequence[str]], first_us: int, last_us: int
    ) -> Int64:
        """As SeriesView says."""
        return await series_reader.series_where(self._connection, allowed, first_us, last_us)

    async def others_of(self, series_ids: Sequence[int]) -> list[int]:
        """As SeriesView says."""
        return await series_reader.others_of(self._connection, series_ids)

    async def sampled(self, series_ids: Int64, first_us: int, last_us: int) -> Int64:
        """As SeriesView says."""
        return await series_reader.sampled(self._connection, series_ids, first_us, last_us)

    async def ends_of(self, series_ids: Int64, first_us: int, last_us: int) -> Samples:
        """As SeriesView says."""
        return await series_reader.ends_of(self._connection, series_ids, first_us, last_us)

    def labels_of(self, series_ids: Int64) -> AsyncGenerator[list[SeriesLabels], None]:
        """As SeriesView says."""
        return series_reader.labels_of(self._connection, self._known, series_ids)

    async def samples_of(
        self, series_ids: Sequence[int], first_us: int, last_us: int, count: Count
    ) -> Samples:
        """As SeriesView says."""
        return await series_reader.samples_of(
            self._connection, series_ids, first_us, last_us, count
        )

    async def newest(self, selection: Selection, seen_since: datetime | None, most: int) -> Samples:
        """As SeriesView says."""
        return await series_reader.newest_of(self._connection, selection, seen_since, most)

    async def there(
        self, series_ids: Sequence[int], times_us: Sequence[int], within_us: int
    ) -> list[bool]:
        """As SeriesView says."""
        return await series_reader.there(self._connection, series_ids, times_us, within_us)

    async def ordered(self, series_ids: Int64, limits: Limits) -> OrderedSeries:
        """As SeriesView says."""
        return await self._known.ordered(self._connection, series_ids, limits)

    async def few_records(
        self, selection: Selection, first_us: int, last_us: int, limits: Limits, most: int
    ) -> Records | None:
        """As SeriesView says."""
        return None


class Views(Protocol):
    """Makes views of the store as it is now."""

    def holds(self, first_us: int) -> bool:
        """Whether a view from this time on needs no session of Postgres."""
        ...

    def view(self, first_us: int, last_us: int) -> AbstractAsyncContextManager[SeriesView]:
        """A view for samples of this span of time."""
        ...


class StoredViews:
    """Views of Postgres alone."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def holds(self, first_us: int) -> bool:
        """As Views says."""
        return False

    @asynccontextmanager
    async def view(self, first_us: int, last_us: int) -> AsyncIterator[SeriesView]:
        """As Views says."""
        async with self._reader.snapshot() as connection:
            yield StoredView(connection, self._reader.known)
