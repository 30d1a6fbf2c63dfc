"""Ranks GPUs or hosts by the value of a metric over a range of time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gputel.store.blocks.samples import EPOCH, numbers
from gputel.store.limits import ANY, Limits
from gputel.store.read.reader import Reader
from gputel.store.read.records import Gpu
from gputel.store.read.selection import Comparison, LabelCondition, Selection
from gputel.store.read.telemetry import TelemetryQuery
from gputel.store.read.view import Views
from gputel.store.rollup.buckets import HOUR_US, Aggregate
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step

_ALL_TIME_US = 2**62 // HOUR_US * HOUR_US  # one step from 1970 on


class By(StrEnum):
    """What is ranked."""

    GPU = "gpu"
    HOST = "host"


@dataclass(frozen=True)
class Ranked:
    """A GPU's uuid or a host's name, and its value."""

    name: str
    value: float


async def ranking(
    reader: Reader,
    query: TelemetryQuery,
    aggregate: Aggregate,
    by: By,
    largest_first: bool,
    limits: Limits = ANY,
    views: Views | None = None,
) -> list[Ranked]:
    """All GPUs or hosts with samples of the query's one metric, in order of value, then name.

    NaN comes last. Samples before 1970 do not count. The aggregate may not be ``last``.
    Raises QueryTooLarge over the limits.
    """
    column = "uuid" if by is By.GPU else "hostname"
    query = replace(query, start=max(query.start, EPOCH))
    ranked: list[Ranked] = []
    steps = StepQuery(_ALL_TIME_US, aggregate, group_by=(column,))
    async with aclosing(telemetry_by_step(reader, query, steps, limits, views)) as pieces:
        async for records in pieces:
            ids, values = records.samples.series_id.tolist(), numbers(records.samples.value)
            groups: Mapping[int, Any] = records.series  # metric and name
            ranked += [
                Ranked(groups[each][1], value) for each, value in zip(ids, values, strict=True)
            ]
    sign = -1 if largest_first else 1
    return sorted(
        ranked,
        key=lambda each: (
            math.isnan(each.value),
            0.0 if math.isnan(each.value) else sign * each.value,
            each.name,
        ),
    )


async def gpus_called(reader: Reader, uuids: tuple[str, ...]) -> dict[str, Gpu]:
    """The GPUs of these uuids, without GPUs whose samples have all expired."""
    gpus = await reader.gpus(Selection((LabelCondition("uuid", Comparison.IS, uuids),)))
    return {gpu.uuid: gpu for gpu in gpus}
