"""What there is: the labels of a GPU, hosts, and the metrics with what is kept of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
import numpy as np

from gputel.store import queries
from gputel.store.blocks.samples import numbers
from gputel.store.limits import ANY, Limits
from gputel.store.read.latest import Latest, latest
from gputel.store.read.reader import Reader
from gputel.store.read.records import Gpu, SeriesLabels
from gputel.store.read.selection import of_gpu

METRIC_LOOK_BACK = timedelta(days=1)
"""Metrics of a GPU are those that it had in this time before its newest sample."""

RANGE_DAYS = 7
"""The newest days of hourly rollups that a metric's range is taken from."""

_SQL = queries.load("inventory")


class Host(msgspec.Struct, frozen=True, gc=False):
    """A host, by the GPUs that were last seen on it."""

    hostname: str
    gpus: int
    models: list[str]
    first_seen: datetime
    last_seen: datetime


class Metric(msgspec.Struct, frozen=True, gc=False):
    """A metric and what is kept of it; ``min`` and ``max`` are null before there are rollups."""

    metric_name: str
    series: int
    samples: int
    first_seen: datetime
    last_seen: datetime
    min: float | None
    max: float | None


async def newest_series(reader: Reader, uuid: str) -> SeriesLabels | None:
    """The series of a GPU's newest sample; None for a GPU that is not known."""
    where, arguments = of_gpu(uuid).where(1)
    async with reader.session() as connection:
        row = await connection.fetchrow(_SQL["newest_series"].format(where=where), *arguments)
    return SeriesLabels(*row) if row else None


async def newest_of_metrics(reader: Reader, gpu: Gpu, limits: Limits = ANY) -> list[Latest]:
    """The newest record of each metric that a GPU had in its last METRIC_LOOK_BACK, by name."""
    since = gpu.last_seen - METRIC_LOOK_BACK
    newest: dict[str, Latest] = {}
    for record in await latest(reader, of_gpu(gpu.uuid), since, limits):
        known = newest.get(record.metric_name)
        if known is None or record.timestamp > known.timestamp:
            newest[record.metric_name] = record
    return list(newest.values())


def hosts_of(gpus: Iterable[Gpu]) -> list[Host]:
    """The hosts of these GPUs, by name; GPUs without a hostname are on none."""
    found: dict[str, list[Gpu]] = defaultdict(list)
    for gpu in gpus:
        if gpu.hostname:
            found[gpu.hostname].append(gpu)
    return [
        Host(
            hostname,
            len(on),
            sorted({gpu.model_name for gpu in on if gpu.model_name}),
            min(gpu.first_seen for gpu in on),
            max(gpu.last_seen for gpu in on),
        )
        for hostname, on in sorted(found.items())
    ]


async def metrics(reader: Reader, limits: Limits = ANY) -> list[Metric]:
    """Every metric that has samples, by name, from heads of blocks and from hourly rollups.

    Raises QueryTooLarge for more of them than series that the limits allow.
    """
    async with reader.session() as connection:
        rows = await connection.fetch(_SQL["metrics"], RANGE_DAYS, limits.ask)
    limits.check_series(len(rows))
    return [Metric(*[*row[:5], *map(_number, row[5:])]) for row in rows]


def _number(value: float | None) -> float | None:
    """As values of records are written: an int where it is whole."""
    return None if value is None else numbers(np.array([value]))[0]
