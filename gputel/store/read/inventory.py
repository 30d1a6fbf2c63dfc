"""The inventory: the labels of a GPU, the hosts, and the metrics with their ranges."""

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
from gputel.store.read.view import Views

METRIC_LOOK_BACK = timedelta(days=1)
"""A GPU has the metrics of which it has samples in this time before its newest sample."""

RANGE_DAYS = 7
"""A metric's smallest and largest values are taken from so many days of hourly rollups."""

_SQL = queries.load("inventory")


class Host(msgspec.Struct, frozen=True, gc=False):
    """A host, by the GPUs that were last seen on it."""

    hostname: str
    gpus: int
    models: list[str]
    first_seen: datetime
    last_seen: datetime


class MetricSummary(msgspec.Struct, frozen=True, gc=False):
    """A metric and what the store has of it. ``min`` and ``max`` are None without rollups."""

    metric_name: str
    series: int
    samples: int
    first_seen: datetime
    last_seen: datetime
    min: float | None
    max: float | None


async def newest_series(reader: Reader, uuid: str) -> SeriesLabels | None:
    """The series of a GPU's newest sample; None if the GPU is unknown."""
    where, arguments = of_gpu(uuid).where(1)
    async with reader.session() as connection:
        row = await connection.fetchrow(_SQL["newest_series"].format(where=where), *arguments)
    return SeriesLabels(*row) if row else None


async def newest_of_metrics(views: Views, gpu: Gpu, limits: Limits = ANY) -> list[Latest]:
    """The newest record of each metric in the GPU's last METRIC_LOOK_BACK, in order of name.

    A metric of MIG instances has one for each instance, in their order.
    """
    since = gpu.last_seen - METRIC_LOOK_BACK
    newest: dict[tuple[str, int, str], Latest] = {}
    for record in await latest(views, of_gpu(gpu.uuid), since, limits):
        key = record.metric_name, len(record.gpu_i_id), record.gpu_i_id  # 7 before 10
        known = newest.get(key)
        if known is None or record.timestamp > known.timestamp:
            newest[key] = record
    return [newest[key] for key in sorted(newest)]


def hosts_of(gpus: Iterable[Gpu]) -> list[Host]:
    """The hosts of these GPUs, in order of name. A GPU without a hostname is on no host."""
    gpus_by_host: dict[str, list[Gpu]] = defaultdict(list)
    for gpu in gpus:
        if gpu.hostname:
            gpus_by_host[gpu.hostname].append(gpu)
    return [
        Host(
            hostname,
            len(host_gpus),
            sorted({gpu.model_name for gpu in host_gpus if gpu.model_name}),
            min(gpu.first_seen for gpu in host_gpus),
            max(gpu.last_seen for gpu in host_gpus),
        )
        for hostname, host_gpus in sorted(gpus_by_host.items())
    ]


async def metrics(reader: Reader, limits: Limits = ANY) -> list[MetricSummary]:
    """Every metric that has samples, in order of name.

    Reads the heads of blocks and hourly rollups. Raises QueryTooLarge if there are more metrics
    than the limits allow series.
    """
    async with reader.session() as connection:
        rows = await connection.fetch(_SQL["metrics"], RANGE_DAYS, limits.ask)
    limits.check_series(len(rows))
    return [MetricSummary(*[*row[:5], *map(_number, row[5:])]) for row in rows]


def _number(value: float | None) -> float | None:
    """The value as records have it: an int if it is a whole number."""
    return None if value is None else numbers(np.array([value]))[0]
