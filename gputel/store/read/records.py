"""What the reader hands out: records, GPUs, and the labels that records of one series share.

The fields of these classes are made from the table of columns in ``model/names.py``. mypy does not
see fields that are made, so it is told that any attribute of a row with labels is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from sys import getsizeof
from typing import TYPE_CHECKING, Any

import msgspec

from gputel.model.names import (
    BEFORE_VALUE,
    COLUMNS,
    GPU_COLUMNS,
    LABELS,
    PARSED_COLUMNS,
    TIMESTAMP,
    VALUE,
)
from gputel.store.blocks.samples import EPOCH, Samples, numbers

label_texts = attrgetter(*LABELS)
"""The label texts of a row that has all labels, in the order of LABELS."""

_OBJECT_BYTES = 300  # of a SeriesLabels without its texts, and its place in a dict
_NAMES = {column.name: column.api for column in COLUMNS + PARSED_COLUMNS}
_TYPES = {TIMESTAMP: datetime, VALUE: float}


def struct_of(
    name: str, fields: Iterable[tuple[str, type] | tuple[str, type, str]], **namespace: Any
) -> type[Any]:
    """A frozen struct with these fields, whose JSON has the API's names."""
    return msgspec.defstruct(
        name, fields, frozen=True, gc=False, rename=_NAMES, namespace=namespace
    )


if TYPE_CHECKING:

    class Labelled:
        """A row with labels: each is an attribute, by the column's name in the table."""

        def __init__(self, *columns: Any) -> None: ...
        def __getattr__(self, column: str) -> str: ...

    class Record(Labelled):
        """One reading: when, what, of which GPU under which labels, and its value.

        ``timestamp`` is UTC. ``value`` is an int where it is whole, so that it prints as ``0``,
        and may be NaN or infinite, which JSON shows as null.
        """

        timestamp: datetime
        value: float

    class Gpu(Labelled):
        """One GPU: its identity, its most recent labels, and when it was seen (UTC)."""

        first_seen: datetime
        last_seen: datetime

    class SeriesLabels(Labelled):
        """The labels of one stored series."""

        series_id: int

else:
    Record = struct_of("Record", [(each.name, _TYPES.get(each.name, str)) for each in COLUMNS])
    Gpu = struct_of(
        "Gpu",
        [(each.name, str) for each in GPU_COLUMNS]
        + [("first_seen", datetime), ("last_seen", datetime)],
    )
    SeriesLabels = struct_of(
        "SeriesLabels",
        [("series_id", int), *((name, str) for name in LABELS)]
        + [(column.name, str, "") for column in PARSED_COLUMNS],
        __hash__=lambda labels: hash(labels.series_id),
    )


def memory_bytes(labels: SeriesLabels) -> int:
    """About how much memory the labels take, as if no other series shared their texts."""
    return _OBJECT_BYTES + sum(map(getsizeof, label_texts(labels)))


@dataclass(frozen=True)
class Records:
    """Records in columns: samples, and the labels of their series by id (maybe of others too).

    Iterating makes a Record of each.
    """

    samples: Samples
    series: Mapping[int, SeriesLabels]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Record]:
        ids, times = self.samples.series_id.tolist(), self.samples.ts.tolist()
        for series_id, us, value in zip(ids, times, numbers(self.samples.value), strict=True):
            texts = label_texts(self.series[series_id])
            before, after = texts[: len(BEFORE_VALUE)], texts[len(BEFORE_VALUE) :]
            yield Record(EPOCH + timedelta(0, 0, us), *before, value, *after)
