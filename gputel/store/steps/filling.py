"""Gaps shown as gaps: a record without a value for each step of a lane that has none."""

from __future__ import annotations

import numpy as np

from gputel.errors import QueryTooLarge
from gputel.store.blocks.blocks import positions
from gputel.store.blocks.samples import Samples
from gputel.store.limits import NARROWER

MOST_FILLED = 1_000_000
"""Records of one filled answer, which is held as a whole."""


def check_filled(count: int) -> None:
    """Raise QueryTooLarge where there are more records than may be held."""
    if count > MOST_FILLED:
        raise QueryTooLarge(
            f"with fill=null the query would answer more than {MOST_FILLED} records: take a "
            f"shorter time or a longer step, {NARROWER}, or leave fill out"
        )


def filled(samples: Samples, step_us: int) -> Samples:
    """One record, NaN where there was none, for each step from first to last of each lane.

    Raises QueryTooLarge where they are too many. Blocks.
    """
    if not len(samples):
        return samples
    ordered = samples.take(np.lexsort((samples.ts, samples.series_id)))
    starts = np.flatnonzero(np.diff(ordered.series_id, prepend=ordered.series_id[0] - 1))
    step = ordered.ts // step_us
    first, last = step[starts], step[np.append(starts[1:], len(ordered)) - 1]
    counts = last - first + 1
    check_filled(int(counts.sum(dtype=np.float64)))
    begins = np.cumsum(counts) - counts
    held = np.diff(starts, append=len(ordered))
    place = np.repeat(begins - first, held) + step
    ts = (np.repeat(first, counts) + positions(begins, counts)) * step_us
    value = np.full(len(ts), np.nan)
    value[place] = ordered.value
    return Samples(np.repeat(ordered.series_id[starts], counts), ts, value)
