"""Fills gaps: a lane gets a record without a value for each step that has no record."""

from __future__ import annotations

import numpy as np

from gputel.errors import QueryTooLarge
from gputel.store.blocks.blocks import positions
from gputel.store.blocks.samples import Samples
from gputel.store.limits import NARROWER

MOST_FILLED = 1_000_000
"""The most records of one filled answer, which is made in memory."""


def check_filled(count: int) -> None:
    """Raise QueryTooLarge if an answer has more than MOST_FILLED records."""
    if count > MOST_FILLED:
        raise QueryTooLarge(
            f"with fill=null the query would answer more than {MOST_FILLED} records: take a "
            f"shorter time or a longer step, {NARROWER}, or leave fill out"
        )


def filled(samples: Samples, step_us: int) -> Samples:
    """One record for each step from the first to the last of each lane; NaN fills the gaps.

    Raises QueryTooLarge if there are too many. Blocks.
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
    samples_of_lane = np.diff(starts, append=len(ordered))
    position = np.repeat(begins - first, samples_of_lane) + step
    ts = (np.repeat(first, counts) + positions(begins, counts)) * step_us
    value = np.full(len(ts), np.nan)
    value[position] = ordered.value
    return Samples(np.repeat(ordered.series_id[starts], counts), ts, value)
