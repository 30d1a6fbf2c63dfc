"""What a commit tells of each GPU: when it was seen first and last, and by which series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from gputel.model.names import LABELS
from gputel.model.series import Groups
from gputel.store.blocks.blocks import Blocks, Int64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = LABELS.index("uuid")


@dataclass(frozen=True)
class Sightings:
    """Columns of one length, one entry a GPU."""

    uuids: list[str]
    first_us: list[int]
    last_us: list[int]
    series_ids: list[int]
    """Of the newest sample; the largest, if several have one."""

    def columns(self) -> tuple[list[str], list[datetime], list[datetime], list[int]]:
        """As a statement takes them."""
        return self.uuids, _moments(self.first_us), _moments(self.last_us), self.series_ids


def sightings(
    blocks: Blocks, groups: Sequence[Groups], series_ids: Sequence[Int64]
) -> Sightings | None:
    """Of the GPUs of the blocks, which were made of the groups; None if there is no block.

    ``series_ids`` are the series of each of the groups.
    """
    if not len(blocks.starts):
        return None
    names, gpu_of_group = _numbered(groups)
    ids, at = np.unique(np.concatenate(series_ids), return_index=True)
    series, first, last = blocks.spans()
    gpu = gpu_of_group[at[np.searchsorted(ids, series)]]
    order = np.lexsort((series, last, gpu))
    starts = np.flatnonzero(np.diff(gpu[order], prepend=-1))
    newest = order[np.append(starts[1:], len(order)) - 1]
    return Sightings(
        [names[number] for number in gpu[newest].tolist()],
        np.minimum.reduceat(first[order], starts).tolist(),
        last[newest].tolist(),
        series[newest].tolist(),
    )


def _numbered(groups: Sequence[Groups]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The uuids of all groups, each once, and the place of each group's among them."""
    numbers: dict[str, int] = {}
    found = []
    for each in groups:
        uuids = each.batch.column(LABELS[_UUID]).dictionary.to_pylist()
        places = [numbers.setdefault(uuid, len(numbers)) for uuid in uuids]
        found.append(np.array(places, np.int64)[each.label_codes[_UUID]])
    return list(numbers), np.concatenate(found)


def _moments(times_us: list[int]) -> list[datetime]:
    return [_EPOCH + timedelta(microseconds=us) for us in times_us]
