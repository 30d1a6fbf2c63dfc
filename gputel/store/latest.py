"""The newest sample of each series: what a fleet does now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from gputel.store import queries
from gputel.store.cost import ANY, Limits
from gputel.store.reader import Reader
from gputel.store.samples import numbers
from gputel.store.selection import EVERY, Selection

LOOK_BACK = timedelta(minutes=5)
"""A series that is older than the newest sample of its GPU by more than this has ended."""

_SQL = queries.load("latest")


class Latest(msgspec.Struct, frozen=True, gc=False, rename={"model_name": "modelName"}):
    """The newest record of a series. ``age_s`` is below zero where the clock that made it is ahead.

    ``value`` is an int where it is whole, and may be NaN or infinite, which JSON shows as null.
    """

    timestamp: datetime
    age_s: float
    metric_name: str
    uuid: str
    hostname: str
    model_name: str
    gpu_id: str
    device: str
    namespace: str
    pod: str
    container: str
    value: float


async def latest(
    reader: Reader,
    selection: Selection = EVERY,
    seen_since: datetime | None = None,
    limits: Limits = ANY,
) -> list[Latest]:
    """The newest record of each series that has one from ``seen_since`` on, by uuid and metric.

    Without it: of each that has one in the last LOOK_BACK of its GPU, however long ago that was.
    Raises QueryTooLarge where the selection has too many series, ended ones included.
    """
    where, arguments = selection.where(4)
    async with reader.session() as connection:
        statement = _SQL["latest"].format(where=where)
        most = limits.max_series
        rows = await connection.fetch(statement, seen_since, LOOK_BACK, most, *arguments)
    if any(row[-1] for row in rows):
        limits.check_series(limits.ask)
    now = datetime.now(UTC)
    values = numbers(np.array([row[10] for row in rows], np.float64))
    return [
        Latest(*[row[0], round((now - row[0]).total_seconds(), 3), *row[1:10], value])
        for row, value in zip(rows, values, strict=True)
    ]
