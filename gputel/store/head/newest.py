"""The newest sample of each series in memory, kept as samples land."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.samples import Samples


def with_newer(newest: Samples, samples: Samples) -> Samples:
    """The newest sample of each series, of those known and of more samples.

    All are in order of series and time, and ``newest`` has each series once. Of two values of one
    instant, the one that counts is taken.
    """
    last = samples.take(np.flatnonzero(np.diff(samples.series_id, append=-1)))
    place = np.searchsorted(newest.series_id, last.series_id)
    place[place == len(newest)] = 0
    known = newest.series_id[place] == last.series_id if len(newest) else np.zeros(len(last), bool)
    newer = known.copy()
    newer[known] = _counts_more(last.take(known), newest.take(place[known]))
    found = Samples(newest.series_id, newest.ts.copy(), newest.value.copy())
    found.ts[place[newer]], found.value[place[newer]] = last.ts[newer], last.value[newer]
    if known.all():
        return found
    more = last.take(~known)
    at = np.searchsorted(found.series_id, more.series_id)
    return Samples(
        np.insert(found.series_id, at, more.series_id),
        np.insert(found.ts, at, more.ts),
        np.insert(found.value, at, more.value),
    )


def _counts_more(one: Samples, other: Samples) -> npt.NDArray[np.bool_]:
    """Where the first sample is newer, or of the same instant with a value that counts more."""
    larger = (one.value > other.value) | (np.isnan(other.value) & ~np.isnan(one.value))
    more: npt.NDArray[np.bool_] = (one.ts > other.ts) | ((one.ts == other.ts) & larger)
    return more
