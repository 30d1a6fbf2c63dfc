"""Labels by series id, each read once: a series never changes its labels, nor goes away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from sys import intern

import asyncpg
import numpy as np

from gputel.store import queries
from gputel.store.blocks import Int64
from gputel.store.records import SeriesLabels

MOST_KNOWN = 100_000
"""Most series that are remembered, at about 1 KiB each."""

_MOST_ORDERS = 4
_PIECE = 10_000  # series that one statement asks for: bounds memory
_SQL = queries.load("series_reader")
_BY_GPU_AND_METRIC = attrgetter("uuid", "metric_name", "series_id")


@dataclass(frozen=True, eq=False)
class Ordered:
    """Series by uuid and metric. The same object for the same ids, as long as it is remembered."""

    series: tuple[SeriesLabels, ...]
    series_id: Int64
    place: Int64
    """Of each series in the ids that were given."""


class KnownSeries:
    """What a process remembers of the series of one store; the first met is forgotten first."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._labels: dict[int, SeriesLabels] = {}
        self._orders: dict[bytes, Ordered] = {}

    async def labels(
        self, connection: asyncpg.pool.PoolConnectionProxy, series_ids: Sequence[int]
    ) -> list[SeriesLabels]:
        """Those of each of these series, all of which are in the store."""
        found = {each: self._labels[each] for each in series_ids if each in self._labels}
        for piece in _pieces([each for each in series_ids if each not in found]):
            for row in await connection.fetch(_SQL["labels"], piece):
                found[row[0]] = self._labels[row[0]] = SeriesLabels(row[0], *map(intern, row[1:]))
        self._forget()
        return [found[each] for each in series_ids]

    async def ordered(
        self, connection: asyncpg.pool.PoolConnectionProxy, series_ids: Int64
    ) -> Ordered:
        """The same by uuid and metric; remembered for the last few questions."""
        key = series_ids.tobytes()
        known = self._orders.get(key)
        if known is None:
            labels = await self.labels(connection, series_ids.tolist())
            place = sorted(range(len(labels)), key=[*map(_BY_GPU_AND_METRIC, labels)].__getitem__)
            known = Ordered(
                tuple(labels[each] for each in place), series_ids[place], np.array(place, np.int64)
            )
            self._orders[key] = known
            if len(self._orders) > _MOST_ORDERS:
                del self._orders[next(iter(self._orders))]
        return known

    def _forget(self) -> None:
        for each in list(islice(self._labels, max(0, len(self._labels) - self._most))):
            del self._labels[each]


def _pieces(series_ids: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(series_ids), _PIECE):
        yield series_ids[first : first + _PIECE]
