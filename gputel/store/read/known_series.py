"""Labels by series id, each read once: a series never changes its labels, nor goes away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from sys import intern

import asyncpg
import numpy as np

from gputel.store import queries
from gputel.store.blocks.blocks import Int64
from gputel.store.byte_cache import ByteCache
from gputel.store.limits import ANY, Limits
from gputel.store.read.records import SeriesLabels, memory_bytes

CACHE_BYTES = 128 * 2**20
"""Most bytes of labels that are remembered, by default: those of some 100,000 usual series."""

CACHED_LABELS_BYTES = 4096
"""Labels of a series that take more are not remembered; usual ones take about 1,000."""

_MOST_ORDERS = 4
_PIECE = 2_000  # series that one statement asks for: bounds memory
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
    """What a process remembers of the series of one store; the first met is forgotten first.

    It remembers ``max_bytes`` of labels, and as much of orders, whose labels are mostly the same.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._labels: ByteCache[int, SeriesLabels] = ByteCache(max_bytes, CACHED_LABELS_BYTES)
        self._orders: ByteCache[bytes, Ordered] = ByteCache(max_bytes, max_values=_MOST_ORDERS)

    async def labels(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        series_ids: Sequence[int],
        limits: Limits = ANY,
    ) -> list[SeriesLabels]:
        """Those of each of these series, all of which are in the store.

        Raises QueryTooLarge if they have more bytes together than the limits allow.
        """
        known = {each: self._labels.sized(each) for each in series_ids}
        found = {each: kept[0] for each, kept in known.items() if kept is not None}
        size = sum(kept[1] for kept in known.values() if kept is not None)
        limits.check_bytes(size)
        for piece in _pieces([each for each, kept in known.items() if kept is None]):
            for row in await connection.fetch(_SQL["labels"], piece):
                labels = SeriesLabels(row[0], *map(intern, row[1:]))
                found[row[0]] = labels
                self._labels.put(row[0], labels, label_bytes := memory_bytes(labels))
                size += label_bytes
            limits.check_bytes(size)
        return [found[each] for each in series_ids]

    async def ordered(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        series_ids: Int64,
        limits: Limits = ANY,
    ) -> Ordered:
        """The same by uuid and metric; remembered for the last few questions."""
        key = series_ids.tobytes()
        known = self._orders.get(key)
        if known is None:
            labels = await self.labels(connection, series_ids.tolist(), limits)
            place = sorted(range(len(labels)), key=[*map(_BY_GPU_AND_METRIC, labels)].__getitem__)
            known = Ordered(
                tuple(labels[each] for each in place), series_ids[place], np.array(place, np.int64)
            )
            size = sum(map(memory_bytes, labels)) + 32 * len(labels)
            self._orders.put(key, known, size)
        return known


def _pieces(series_ids: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(series_ids), _PIECE):
        yield series_ids[first : first + _PIECE]
