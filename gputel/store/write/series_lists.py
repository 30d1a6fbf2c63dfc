"""The lists of series that come at the same times: which the store has, and new ones.

Series that come together once may never do so again, so a list is added when they come together
for the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg
import numpy as np

from gputel.store.blocks.blocks import Blocks
from gputel.store.blocks.frames import FrameCandidate
from gputel.store.pool import store_errors
from gputel.store.queries import load

MOST_LISTS = 200_000  # some 30 MB, and as much for those that have been met once
_AT_ONCE = 2_000  # lists that one statement adds
MOST_OF_SERIES = 32
"""Lists that a series is in. Readers look at each of them, and a GPU of which other series are
missing each time would have ever more."""


class SeriesLists:
    """The lists that this process has met. Safe for concurrent use on one event loop."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load("writer")
        self._kept: bool | None = None  # whether this store keeps frames
        self._removals: int | None = None
        self._ids: dict[bytes, int] = {}
        self._met: dict[bytes, None] = {}  # digests that have been met once, oldest first

    def known(self, removals: int | None) -> Mapping[bytes, int]:
        """The ids of lists by digest, if no series have been removed since these were made.

        ``removals`` is how often that had been done when the series were looked up.
        """
        if removals != self._removals:
            self._removals, self._ids, self._met = removals, {}, {}
        return self._ids

    async def meet(
        self, blocks: Blocks, new: Sequence[FrameCandidate], removals: int | None
    ) -> None:
        """Note series that came together, and have no list. The blocks are theirs.

        Raises StoreUnavailable or StoreError.
        """
        if removals != self._removals or not new:
            return
        again = {each.digest: each for each in new if each.digest in self._met}
        for each in new:
            self._met.pop(each.digest, None)
            if each.digest not in again:
                self._met[each.digest] = None
        while len(self._met) > MOST_LISTS:
            del self._met[next(iter(self._met))]
        digests = sorted(again)
        for first in range(0, len(digests), _AT_ONCE):
            some = [again[digest] for digest in digests[first : first + _AT_ONCE]]
            found = await self._add(blocks, some)
            if removals != self._removals:
                return
            if len(self._ids) > MOST_LISTS:
                self._ids = {}
            self._ids.update(found)
        if len(digests) >= _AT_ONCE:
            async with store_errors():
                await self._pool.execute(self._sql["analyze_lists"])

    async def keeps_frames(self) -> bool:
        """Whether this store keeps frames. Raises StoreUnavailable or StoreError."""
        if self._kept is None:
            async with store_errors():
                self._kept = bool(await self._pool.fetchval(self._sql["keeps_frames"]))
        return self._kept

    async def _add(self, blocks: Blocks, new: Sequence[FrameCandidate]) -> dict[bytes, int]:
        digests = [each.digest for each in new]
        sizes = np.array([len(each.blocks) for each in new])
        ids = blocks.series_id[blocks.starts[np.concatenate([each.blocks for each in new])]]
        lists = np.repeat(np.arange(1, len(new) + 1), sizes)
        places = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
        members = (lists.tolist(), ids.tolist(), places.tolist())
        async with store_errors(), self._pool.acquire() as connection:
            await connection.execute(self._sql["add_lists"], digests, *members, MOST_OF_SERIES)
            return dict(await connection.fetch(self._sql["find_lists"], digests))
