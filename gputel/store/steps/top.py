"""Which GPUs or hosts have the largest or smallest value of a metric over a range of time."""

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
from gputel.store.read.selection import Kind, Matcher, Selection
from gputel.store.read.telemetry import Asked
from gputel.store.rollup.buckets import HOUR_US, Aggregate
from gputel.store.rollup.reader import Steps
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
    asked: Asked,
    aggregate: Aggregate,
    by: By,
    largest_first: bool,
    limits: Limits = ANY,
) -> list[Ranked]:
    """All that have samples of the one metric that is asked for, in order of value, then name.

    Those whose value is NaN come last. Samples before 1970 do not count; ``last`` makes no sense.
    Raises QueryTooLarge over the limits.
    """
    column = "uuid" if by is By.GPU else "hostname"
    asked = replace(asked, start=max(asked.start, EPOCH))
    found: list[Ranked] = []
    steps = Steps(_ALL_TIME_US, aggregate, group_by=(column,))
    async with aclosing(telemetry_by_step(reader, asked, steps, limits)) as pieces:
        async for records in pieces:
            ids, values = records.samples.series_id.tolist(), numbers(records.samples.value)
            groups: Mapping[int, Any] = records.series  # metric and name
            found += [
                Ranked(groups[each][1], value) for each, value in zip(ids, values, strict=True)
            ]
    sign = -1 if largest_first else 1
    return sorted(
        found,
        key=lambda each: (
            math.isnan(each.value),
            0.0 if math.isnan(each.value) else sign * each.value,
            each.name,
        ),
    )


async def gpus_called(reader: Reader, uuids: tuple[str, ...]) -> dict[str, Gpu]:
    """The GPUs of these uuids; those of which all samples have expired are left out."""
    found = await reader.gpus(Selection((Matcher("uuid", Kind.IS, uuids),)))
    return {gpu.uuid: gpu for gpu in found}
