"""The newest sample of each series: the present state of a fleet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from gputel.model.names import GPU_COLUMNS, METRIC, SHOWN_COLUMNS
from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import EPOCH, Samples, micros, numbers
from gputel.store.limits import ANY, Limits
from gputel.store.read.endings import ended
from gputel.store.read.known_series import OrderedSeries
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.records import struct_of
from gputel.store.read.selection import EVERY, Comparison, LabelCondition, Selection
from gputel.store.read.view import SeriesView, Views

_OF_LANE = {METRIC, *(column.name for column in GPU_COLUMNS)}
"""Conditions on these labels select all series that may end each other, or none."""

_TEXTS = attrgetter(*(column.name for column in SHOWN_COLUMNS))


if TYPE_CHECKING:
    from gputel.store.read.records import Labelled

    class Latest(Labelled):
        """The newest record of a series.

        ``age_s`` is below zero if the clock that made the record is ahead. ``value`` is an int
        where it is whole, and may be NaN or infinite, which JSON shows as null.
        """

        timestamp: datetime
        age_s: float
        value: float

else:
    Latest = struct_of(
        "Latest",
        [("timestamp", datetime), ("age_s", float)]
        + [(each.name, str) for each in SHOWN_COLUMNS]
        + [("value", float)],
    )


@dataclass(frozen=True)
class Newest:
    """The newest sample of each series in columns, by uuid and metric, and how old each was.

    Times are Unix microseconds, ages seconds. Iterating makes a Latest of each.
    """

    of: OrderedSeries
    ts: Int64
    age_s: Float64
    value: Float64

    def __len__(self) -> int:
        return len(self.ts)

    def determining(self) -> tuple[bytes, ...]:
        """Bytes that are equal only for equal answers: the base of an ETag."""
        columns = (self.of.series_id, self.ts, self.age_s, self.value)
        return tuple(each.tobytes() for each in columns)

    def __iter__(self) -> Iterator[Latest]:
        columns = (self.ts.tolist(), self.age_s.tolist(), numbers(self.value))
        for series, us, age_s, value in zip(self.of.series, *columns, strict=True):
            yield Latest(EPOCH + timedelta(0, 0, us), age_s, *_TEXTS(series), value)


async def latest(
    views: Views,
    selection: Selection = EVERY,
    seen_since: datetime | None = None,
    limits: Limits = ANY,
) -> Newest:
    """The newest record of each series that has one since ``seen_since``, by uuid and metric.

    Without ``seen_since``, a series needs a record in the LOOK_BACK before the newest sample of
    its GPU, however old that sample is. One of which another one took the place is left out.
    Raises QueryTooLarge if there are too many of these records; series that have ended before do
    not count.
    """
    async with views.view(micros(seen_since or EARLIEST), micros(LATEST)) as view:
        newest = await view.newest(selection, seen_since, limits.max_series)
        limits.check_series(len(newest))
        of = await view.ordered(newest.series_id, limits)
        gone = await _ended(view, selection, seen_since, of, newest)
        if len(gone):
            newest = newest.take(~np.isin(newest.series_id, gone))
            of = await view.ordered(newest.series_id, limits)
    us = newest.ts[of.place]
    age_s = (micros(datetime.now(UTC)) - us + 500) // 1000 / 1000
    return Newest(of, us, age_s, newest.value[of.place])


async def _ended(
    view: SeriesView,
    selection: Selection,
    seen_since: datetime | None,
    of: OrderedSeries,
    newest: Samples,
) -> Int64:
    """The ids of those series that have ended because another one took their place."""
    if any(each.label not in _OF_LANE for each in selection.conditions) and len(of.series):
        around = Selection(
            tuple(
                LabelCondition(
                    label, Comparison.IS, tuple({getattr(each, label) for each in of.series})
                )
                for label in ("uuid", METRIC)
            )
        )
        newest = await view.newest(around, seen_since, ANY.max_series)
        of = await view.ordered(newest.series_id, ANY)
    return of.series_id[await ended(view, of, newest.ts[of.place])]
