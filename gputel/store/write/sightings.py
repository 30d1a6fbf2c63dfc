"""What a commit says of each GPU: when it was seen first and last, and by which series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gputel.model.names import GPU_COLUMNS, LABELS
from gputel.model.series import Groups
from gputel.store.blocks.blocks import Blocks, Int64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = LABELS.index("uuid")


@dataclass(frozen=True)
class Sightings:
    """Columns of one length, one entry a GPU; and which GPU each block is of."""

    uuids: list[str]
    first_us: list[int]
    last_us: list[int]
    series_ids: list[int]
    """The series of the GPU's newest sample; the largest id if several series have one."""
    fullest_ids: list[int]
    """The series that has most of the labels that describe a GPU, the newest of them."""
    gpu_of_block: Int64
    """For each block the place of its GPU in the columns."""

    def columns(self) -> tuple[list[str], list[datetime], list[datetime], list[int], list[int]]:
        """The arguments of the statement ``note_gpus``."""
        times = _moments(self.first_us), _moments(self.last_us)
        return self.uuids, *times, self.series_ids, self.fullest_ids


def sightings(
    blocks: Blocks, groups: Sequence[Groups], series_ids: Sequence[Int64]
) -> Sightings | None:
    """The sightings of the GPUs in these blocks; None if there are no blocks.

    The blocks were made of the groups. ``series_ids`` has the series ids of each group.
    """
    if not len(blocks.starts):
        return None
    names, gpu_of_group = _numbered(groups)
    ids, at = np.unique(np.concatenate(series_ids), return_index=True)
    series, first, last = blocks.spans()
    group = at[np.searchsorted(ids, series)]
    gpu = gpu_of_group[group]
    told = np.concatenate([_labels_told(each) for each in groups])[group]
    order = np.lexsort((series, last, gpu))
    starts = np.flatnonzero(np.diff(gpu[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    newest, fullest = order[ends], np.lexsort((series, last, told, gpu))[ends]
    return Sightings(
        [names[number] for number in gpu[newest].tolist()],
        np.minimum.reduceat(first[order], starts).tolist(),
        last[newest].tolist(),
        series[newest].tolist(),
        series[fullest].tolist(),
        np.searchsorted(gpu[newest], gpu)[np.searchsorted(series, blocks.series_id[blocks.starts])],
    )


def _labels_told(groups: Groups) -> Int64:
    """How many of the labels that describe a GPU are not empty in each group."""
    told = np.zeros(len(groups), np.int64)
    for column in GPU_COLUMNS:
        texts = groups.batch.column(column.name).dictionary
        filled = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
        told += filled[groups.label_codes[LABELS.index(column.name)]]
    return told


def _numbered(groups: Sequence[Groups]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The uuids of all groups, each once, and for each group the number of its uuid."""
    numbers: dict[str, int] = {}
    gpu_of_group = []
    for each in groups:
        uuids = each.batch.column(LABELS[_UUID]).dictionary.to_pylist()
        gpu_numbers = [numbers.setdefault(uuid, len(numbers)) for uuid in uuids]
        gpu_of_group.append(np.array(gpu_numbers, np.int64)[each.label_codes[_UUID]])
    return list(numbers), np.concatenate(gpu_of_group)


def _moments(times_us: list[int]) -> list[datetime]:
    return [_EPOCH + timedelta(microseconds=us) for us in times_us]
