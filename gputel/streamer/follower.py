"""Follows the file of ``--csv --follow`` by its name, over rotations, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from gputel.config.settings import StreamerSettings
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.sources.csv.growing import GrowingCsv
from gputel.sources.csv.open import CsvOptions, source_name
from gputel.store.write.streams import Progress, Streams
from gputel.streamer.following import FollowingStreamer
from gputel.streamer.growing_files import first_row_of, growing_files
from gputel.streamer.waiting import until_there

log = logging.getLogger("gputel.streamer")


class Follower:
    """Streams each file that gets the name ``path``; ``streams_of`` makes the Streams of an id."""

    def __init__(
        self,
        path: Path,
        settings: StreamerSettings,
        client: QueueClient,
        streams_of: Callable[[str], Streams],
        options: CsvOptions,
    ) -> None:
        self._path = path
        self._settings = settings
        self._client = client
        self._streams_of = streams_of
        self._options = options
        self._outage = Outage(log, "the database")

    async def run(self, stopping: asyncio.Event) -> None:
        """Stream until ``stopping`` is set. Raises SourceError for a file that cannot be read."""
        files = growing_files(
            self._path,
            self._options,
            self._settings.stream_id,
            stopping,
            lambda: log.info("waiting for rows in %s", self._path),
        )
        async for csv in files:
            streams = self._streams_of(self._settings.stream_id or csv.stream_id)
            if await self._register(streams, csv, stopping):
                await FollowingStreamer(self._settings, self._client, streams, csv).run(stopping)

    async def _register(self, streams: Streams, csv: GrowingCsv, stopping: asyncio.Event) -> bool:
        """Register the stream of a file; wait while the database is away. False: stopped before."""
        source = source_name(self._path)

        async def register() -> Progress:
            first_row = await first_row_of(streams, source, csv)
            return await streams.register(
                csv.fingerprint, source, looping=False, first_row=first_row
            )

        start = await until_there(register, self._outage, stopping)
        if start is None:
            return False
        where = (self._path, streams.stream_id, start.next_row)
        log.info("following %s as stream %r from row %d", *where)
        for note in csv.notes:
            log.info("%s: %s", self._path, note)
        return True
