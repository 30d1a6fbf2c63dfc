"""What the reader hands out: records, GPUs, and the labels that records of one series share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from sys import getsizeof

import msgspec

from gputel.model.names import LABELS
from gputel.store.blocks.samples import EPOCH, Samples, numbers

_TEXTS = attrgetter(*LABELS)
_OBJECT_BYTES = 300  # of a SeriesLabels without its texts, and its place in a dict


class Record(msgspec.Struct, frozen=True, gc=False, rename={"model_name": "modelName"}):
    """One reading: when, what, of which GPU under which labels, and its value.

    ``timestamp`` is UTC. ``value`` is an int where it is whole, so that it prints as ``0``, and
    may be NaN or infinite, which JSON shows as null.
    """

    timestamp: datetime
    metric_name: str
    gpu_id: str
    device: str
    uuid: str
    model_name: str
    hostname: str
    container: str
    pod: str
    namespace: str
    value: float
    labels_raw: str


class Gpu(msgspec.Struct, frozen=True, gc=False, rename={"model_name": "modelName"}):
    """One GPU: its identity, its most recent labels, and when it was seen (UTC)."""

    uuid: str
    device: str
    model_name: str
    hostname: str
    gpu_id: str
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True)
class SeriesLabels:
    """The labels of one stored series."""

    series_id: int
    metric_name: str
    gpu_id: str
    device: str
    uuid: str
    model_name: str
    hostname: str
    container: str
    pod: str
    namespace: str
    labels_raw: str

    def __hash__(self) -> int:
        return hash(self.series_id)

    @property
    def held_bytes(self) -> int:
        """About how much memory these labels take, as if no other series shared their texts."""
        return _OBJECT_BYTES + sum(map(getsizeof, _TEXTS(self)))

    def record(self, timestamp: datetime, value: float) -> Record:
        """The record of one sample of this series."""
        return Record(
            timestamp,
            self.metric_name,
            self.gpu_id,
            self.device,
            self.uuid,
            self.model_name,
            self.hostname,
            self.container,
            self.pod,
            self.namespace,
            value,
            self.labels_raw,
        )


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
            yield self.series[series_id].record(EPOCH + timedelta(0, 0, us), value)
