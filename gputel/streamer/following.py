"""The streamer of a growing file: it reserves a row only when its line is complete."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Protocol

from gputel.backoff import Backoff, pause
from gputel.config.settings import StreamerSettings
from gputel.errors import SourceError, StoreUnavailable
from gputel.mq.client import QueueClient
from gputel.sources.csv.growing import Fate
from gputel.store.write.streams import ChunkLease, Streams
from gputel.streamer.streamer import Observer, Source, Streamer

log = logging.getLogger("gputel.streamer")

_LOOK_S = 0.2
_GRACE_S = 1.0  # a writer may hold the old file for a moment after it was rotated


class GrowingSource(Source, Protocol):
    """A source that grows."""

    def rows_ready(self) -> int:
        """The number of rows that can be read now."""
        ...

    def fate(self) -> Fate:
        """Whether more rows may come."""
        ...


class FollowingStreamer(Streamer):
    """Streams a growing source until it is rotated and all its rows have landed.

    ``cut``: it ended because the file was truncated before all its rows were read.
    """

    def __init__(
        self,
        settings: StreamerSettings,
        client: QueueClient,
        streams: Streams,
        source: GrowingSource,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(settings, client, streams, source, observer)
        self._growing = source
        self._ending = asyncio.Event()
        self._rotated_at: float | None = None  # monotonic seconds when the rotation was noticed
        self._rows: int | None = None  # the total, once it is known
        self.cut = False

    async def run(self, stopping: asyncio.Event) -> None:
        """See Streamer.run."""
        watcher = asyncio.ensure_future(stopping.wait())
        watcher.add_done_callback(lambda _: self._ending.set())
        try:
            await super().run(self._ending)
        finally:
            watcher.cancel()

    async def _reserve(self, rows: int, stopping: asyncio.Event) -> ChunkLease | None:
        """Reserve when there are new rows; None when it is complete, or when stopping."""
        backoff = Backoff()
        while not stopping.is_set():
            try:
                progress = await self._streams.progress()
                self._database_outage.ends()
                if progress.row_count is not None:
                    return await super()._reserve(rows, stopping)
                fresh = await asyncio.to_thread(self._growing.rows_ready) - progress.next_row
                expired = progress.next_expiry_s is not None and progress.next_expiry_s <= 0
                if fresh > 0 or expired:
                    self._rotated_at = None
                    return await super()._reserve(min(rows, max(fresh, 1)), stopping)
                await self._look()
            except StoreUnavailable as error:
                self._database_outage.begins(error)
                await backoff.wait(stopping)
            else:
                await pause(_LOOK_S, stopping)
        return None

    async def _look(self) -> None:
        """Check whether a file without new rows was rotated or truncated."""
        fate = await asyncio.to_thread(self._growing.fate)
        if fate is Fate.CUT:
            self._note_cut()
        elif fate is Fate.GROWING:
            self._rotated_at = None
        elif self._rotated_at is None:
            self._rotated_at = time.monotonic()
        elif time.monotonic() - self._rotated_at > _GRACE_S:
            self._rows = await asyncio.to_thread(self._growing.count_rows)
            log.info("%s was rotated after %d rows", self._streams.stream_id, self._rows)
            await self._streams.finish(self._rows)

    async def _stream(self, lease: ChunkLease, stopping: asyncio.Event) -> int:
        """Read and publish a complete chunk; wait for rows that other streamers reserved ahead."""
        try:
            end = lease.first_row + lease.row_count
            while await asyncio.to_thread(self._growing.rows_ready) < end:
                if self._rows is not None:
                    lease = replace(lease, row_count=max(0, self._rows - lease.first_row))
                    break
                if await pause(_LOOK_S, stopping):
                    await self._release([lease.first_row])
                    return 0
                await self._look()
            return await super()._stream(lease, stopping)
        except SourceError:
            if self._growing.fate() is not Fate.CUT:
                raise
            self._note_cut()
            return 0

    def _note_cut(self) -> None:
        self.cut = True
        log.warning("%s was truncated: rows that were not read are lost", self._streams.stream_id)
        self._ending.set()
