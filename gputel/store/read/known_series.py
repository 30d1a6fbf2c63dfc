"""A cache of labels by series id: a series never changes its labels, and no id comes twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from sys import intern

import asyncpg
import numpy as np

from gputel.errors import StoreUnavailable
from gputel.store import queries
from gputel.store.blocks.blocks import Int64
from gputel.store.byte_cache import ByteCache
from gputel.store.limits import ANY, Limits
from gputel.store.read.records import SeriesLabels, memory_bytes

CACHE_BYTES = 128 * 2**20
"""Default for the most bytes of labels that are cached: about 100,000 usual series."""

CACHED_LABELS_BYTES = 4096
"""Labels of one series that take more are not cached; usual labels take about 1,000."""

_MOST_ORDERS = 8
_PIECE = 2_000  # series that one statement asks for: bounds memory
_SQL = queries.load("series_reader")


@dataclass(frozen=True, eq=False)
class OrderedSeries:
    """Series in order of uuid and metric.

    The same ids give the same object as long as it is cached.
    """

    series: tuple[SeriesLabels, ...]
    series_id: Int64
    place: Int64
    """The position of each series in the ids of the request."""


class KnownSeries:
    """The cache of one process for the series of one store. The oldest entry is dropped first.

    It holds ``max_bytes`` of labels, and as many bytes of orders, which mostly share the labels.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._labels: ByteCache[int, SeriesLabels] = ByteCache(max_bytes, CACHED_LABELS_BYTES)
        self._orders: ByteCache[bytes, OrderedSeries] = ByteCache(
            max_bytes, max_values=_MOST_ORDERS
        )

    async def labels(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        series_ids: Sequence[int],
        limits: Limits = ANY,
    ) -> list[SeriesLabels]:
        """The labels of each of these series, which were all in the store when they were found.

        Raises QueryTooLarge if the labels together have more bytes than the limits allow, and
        StoreUnavailable if a series has been removed since then.
        """
        cached = {each: self._labels.sized(each) for each in series_ids}
        labels_by_id = {each: entry[0] for each, entry in cached.items() if entry is not None}
        size = sum(entry[1] for entry in cached.values() if entry is not None)
        limits.check_bytes(size)
        for piece in _pieces([each for each, entry in cached.items() if entry is None]):
            for row in await connection.fetch(_SQL["labels"], piece):
                labels = SeriesLabels(row[0], *map(intern, row[1:]))
                labels_by_id[row[0]] = labels
                self._labels.put(row[0], labels, label_bytes := memory_bytes(labels))
                size += label_bytes
            limits.check_bytes(size)
        try:
            return [labels_by_id[each] for each in series_ids]
        except KeyError:
            raise StoreUnavailable("old series were removed while they were read") from None

    async def ordered(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        series_ids: Int64,
        limits: Limits = ANY,
    ) -> OrderedSeries:
        """The labels in order of uuid, metric and MIG instance. The last results are cached."""
        known = self.order_of(series_ids)
        if known is None:
            labels = await self.labels(connection, series_ids.tolist(), limits)
            known = self.order(series_ids, labels)
        return known

    def order_of(self, series_ids: Int64) -> OrderedSeries | None:
        """The order of these series if it is cached."""
        return self._orders.get(series_ids.tobytes())

    def order(self, series_ids: Int64, labels: Sequence[SeriesLabels]) -> OrderedSeries:
        """The order of these series, whose labels are known; cache it."""
        order = in_order(labels)
        known = OrderedSeries(
            tuple(labels[each] for each in order), series_ids[order], np.array(order, np.int64)
        )
        size = sum(map(memory_bytes, labels)) + 32 * len(labels)
        self._orders.put(series_ids.tobytes(), known, size)
        return known


def in_order(series: Sequence[SeriesLabels]) -> list[int]:
    """The positions of the series in order of uuid, metric and MIG instance."""
    return sorted(range(len(series)), key=[*map(_place, series)].__getitem__)


def _place(labels: SeriesLabels) -> tuple[str, str, int, str, int]:
    """Where a series stands in the order; MIG instance 7 before 10."""
    instance = labels.gpu_i_id
    return labels.uuid, labels.metric_name, len(instance), instance, labels.series_id


def _pieces(series_ids: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(series_ids), _PIECE):
        yield series_ids[first : first + _PIECE]
