"""Frames: the samples of series of one GPU that come at the same times, in one row.

The series of a frame stand in a list, which seldom changes: a scrape brings the same series each
time. So a row of the store holds an instant, or a few, of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gputel.store.blocks.blocks import PG_EPOCH_US, Blocks, Int64, positions
from gputel.store.blocks.samples import (
    HEADER_BYTES,
    NUMBER,
    Samples,
    elements,
    lengths,
    micros,
)

LEAST_SERIES, MOST_SERIES = 2, 1000
MOST_TIMES = 16
"""Blocks of more samples stay blocks: these cost little for each sample."""


@dataclass(frozen=True)
class FrameCandidate:
    """Blocks that a frame can hold: those of one GPU, at the same times."""

    digest: bytes
    """Of the ids of their series."""
    blocks: Int64
    """Their numbers, in order of series."""


@dataclass(frozen=True)
class Frames:
    """Blocks as frames: frame f has the list ``list_ids[f]``, and ``counts[f]`` of the blocks.

    ``blocks`` has the numbers of the blocks, one frame after another.
    """

    list_ids: Int64
    blocks: Int64
    counts: Int64

    def __len__(self) -> int:
        return len(self.list_ids)


def frame_candidates(blocks: Blocks, gpu_of_block: Int64) -> list[FrameCandidate]:
    """The blocks that may become frames. ``gpu_of_block`` numbers the GPU of each block."""
    fit = np.flatnonzero((blocks.counts <= MOST_TIMES) & ~blocks.uneven)
    if len(fit) < LEAST_SERIES:
        return []
    keys = (blocks.step_us, blocks.counts, blocks.ts[blocks.starts], gpu_of_block)
    order = fit[np.lexsort([key[fit] for key in keys])]
    new = np.zeros(len(order), np.bool_)
    new[0] = True
    for key in keys:
        new[1:] |= np.diff(key[order]) != 0
    starts = np.flatnonzero(new)
    sizes = np.diff(starts, append=len(order))
    kept = (sizes >= LEAST_SERIES) & (sizes <= MOST_SERIES)
    series_id = blocks.series_id[blocks.starts[order]]
    return [
        FrameCandidate(_digest(series_id[start : start + size]), order[start : start + size])
        for start, size in zip(starts[kept].tolist(), sizes[kept].tolist(), strict=True)
    ]


def frames_of(found: Sequence[FrameCandidate], list_ids: Mapping[bytes, int]) -> Frames:
    """The frames of those blocks whose series have a list."""
    listed = [each for each in found if each.digest in list_ids]
    return Frames(
        np.array([list_ids[each.digest] for each in listed], np.int64),
        np.concatenate([each.blocks for each in listed] or [np.empty(0, np.int64)]),
        np.array([len(each.blocks) for each in listed], np.int64),
    )


def decode_frames(rows: Sequence[Mapping[str, Any]], members: Mapping[int, Int64]) -> Samples:
    """The samples of rows with list_id, first_ts, step_us, samples, and array_send of value.

    ``members`` has the series ids of each list.
    """
    value = [row["value"] for row in rows]
    counts = lengths(value)
    starts = np.cumsum(counts) - counts
    samples = np.repeat(np.array([row["samples"] for row in rows], np.int64), counts)
    place, number = np.divmod(positions(starts, counts), samples)
    lists, list_of_row = np.unique([row["list_id"] for row in rows], return_inverse=True)
    of_list = [members[list_id] for list_id in lists.tolist()]
    first_member = np.cumsum([0, *map(len, of_list)])[list_of_row]
    ids = np.concatenate(of_list)[np.repeat(first_member, counts) + place]
    first = np.array([micros(row["first_ts"]) for row in rows], np.int64)
    step = np.array([row["step_us"] for row in rows], np.int64)
    ts = np.repeat(first, counts) + np.repeat(step, counts) * number
    return Samples(ids, ts, elements(value, NUMBER).astype(np.float64))


def decode_runs(samples: int, rows: Sequence[Mapping[str, Any]]) -> Samples:
    """The samples of rows of the statement ``frames``, each of whose frames has ``samples``."""
    array = np.dtype([("head", f"V{HEADER_BYTES}"), ("elements", NUMBER, (samples,))])
    value = np.frombuffer(b"".join([row["value"] for row in rows]), array)["elements"]["bits"]
    first = np.frombuffer(b"".join([row["first_ts"] for row in rows]), ">i8") + PG_EPOCH_US
    frames = [len(row["first_ts"]) // first.itemsize for row in rows]
    ids = np.repeat(np.array([row["series_id"] for row in rows], np.int64), frames)
    step = np.repeat(np.array([row["step_us"] for row in rows], np.int64), frames)
    ts = first[:, None] + step[:, None] * np.arange(samples)
    return Samples(np.repeat(ids, samples), ts.ravel(), value.ravel().astype(np.float64))


def _digest(series_ids: Int64) -> bytes:
    return hashlib.blake2b(series_ids.tobytes(), digest_size=16).digest()
