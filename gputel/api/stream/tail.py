"""The one reader of new records in a process, and its subscribers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp import web

from gputel import metrics
from gputel.api.stream.events import RecordEvents
from gputel.api.stream.position import StreamPosition
from gputel.api.stream.subscriber import ClientRecords, Gap, LandedBatch, RecordFilter, Subscriber
from gputel.config.settings import ApiSettings
from gputel.errors import StoreError, TooManyStreams
from gputel.store.read.reader import Reader
from gputel.store.read.selection import Selection
from gputel.store.write.recent_landings import (
    LandingPosition,
    Landings,
    LandingsGone,
    LandingWindow,
)

log = logging.getLogger("gputel.api")

_POLL_S = 0.1
_DEMAND_S = 5.0
_BEGIN_S = 5.0
_AWAY_S = 1.0
_CLOSE_S = 2.0


class Tail:
    """Looks for new records while it has subscribers, and offers them to all subscribers."""

    def __init__(self, reader: Reader, settings: ApiSettings) -> None:
        self.heartbeat_s = settings.stream_heartbeat_s
        self.events = RecordEvents()
        self._landings = Landings(reader, settings.stream_replay, settings.stream_replay_max_bytes)
        self._most_lag = settings.stream_max_lag
        self._free = settings.stream_max_clients
        self._subscribers: set[Subscriber] = set()
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._position: LandingPosition | None = None
        self._is_complete = False
        self._demanded_at = 0.0
        self._closed = False

        # The window that is being handed out, and the number of its batches that are handed out.
        self._window: LandingWindow | None = None
        self._handed = 0

    @asynccontextmanager
    async def subscribe(self, selection: Selection) -> AsyncIterator[Subscriber]:
        """A subscriber for the records that are stored from now on.

        Raises TooManyStreams if the limit is reached, StoreError if the store is not available.
        """
        if self._free <= 0:
            raise TooManyStreams(
                "the limit of open streams is reached: close one, or raise --stream-max-clients"
            )
        self._free -= 1
        try:
            subscriber = await self._joined(selection)
            with metrics.API_STREAM_CLIENTS.track_inprogress():
                try:
                    yield subscriber
                finally:
                    self._subscribers.discard(subscriber)
        finally:
            self._free += 1

    async def _joined(self, selection: Selection) -> Subscriber:
        # The start has to be after all that the client has got so far, from any process.
        await self._look()
        assert self._position is not None
        subscriber = Subscriber(selection, self._most_lag, self._position, self._is_complete)
        self._subscribers.add(subscriber)
        if self._closed:
            subscriber.close()
        elif self._task is None:
            self._task = asyncio.create_task(self._run())
        return subscriber

    async def close(self) -> None:
        """End all streams, without waiting for a Postgres that does not answer."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CLOSE_S)

    async def replay(
        self, position: StreamPosition, selection: Selection, until: LandingPosition
    ) -> AsyncGenerator[ClientRecords, None]:
        """Yield what landed after ``position`` and up to ``until``. Raises LandingsGone."""
        records_filter = RecordFilter(selection)
        steps = [(position.position, until, 0)]
        if position.until is not None:
            middle = replace(position.position, snapshot=position.until)
            steps = [(position.position, middle, position.passed), (middle, until, 0)]
        for after, before, passed in steps:
            window = await self._landings.between(after, before)
            for number, parts in enumerate(window.batches, 1):
                records = await self._landings.read(parts)
                batch = LandedBatch(window, records, is_last=number == len(window.batches))
                if not records_filter.knows(records):
                    await records_filter.learn(records)
                yield records_filter.select(batch, passed)

    async def _begin(self) -> None:
        """Set the position when new records are kept; do not wait for very long transactions."""
        deadline = self._now() + _BEGIN_S
        while True:
            start = await self._landings.position(await self._demand())
            if start is not None and (start[1] or self._closed or self._now() > deadline):
                self._position, self._is_complete = start
                return
            await asyncio.sleep(_POLL_S)

    async def _demand(self) -> int:
        epoch = await self._landings.demand()
        self._demanded_at = self._now()
        return epoch

    async def _run(self) -> None:
        """Look again and again until the last subscriber has left."""
        away = False
        try:
            while self._subscribers:
                try:
                    await self._look()
                    away = False
                except StoreError as error:
                    if not away:
                        log.warning("the live stream waits: %s", error.message)
                    away = True
                await asyncio.sleep(_AWAY_S if away else _POLL_S)
        except Exception:
            log.exception("the live stream ends because of an unexpected error")
        finally:
            self._task = self._position = self._window = None
            for subscriber in self._subscribers:
                subscriber.close()

    async def _look(self) -> None:
        """Hand out new records. If this is interrupted, the next call goes on."""
        async with self._looking:
            if self._position is None:
                await self._begin()
                return
            if self._now() - self._demanded_at > _DEMAND_S:
                await self._demand()
            try:
                await self._hand_out(self._window or await self._next_window(self._position))
            except LandingsGone as error:
                log.warning("the live stream has a gap: %s", error.message)
                self._window = None
                await self._begin()
                for subscriber in self._subscribers:
                    subscriber.offer(Gap())
                    subscriber.reach(self._position)

    async def _next_window(self, after: LandingPosition) -> LandingWindow:
        window = self._window = await self._landings.since(after)
        self._handed = 0
        return window

    async def _hand_out(self, window: LandingWindow) -> None:
        while self._handed < len(window.batches):
            records = await self._landings.read(window.batches[self._handed])
            self._handed += 1
            batch = LandedBatch(window, records, is_last=self._handed == len(window.batches))
            for subscriber in self._subscribers:
                subscriber.offer(batch)
        self._window, self._position, self._is_complete = None, window.until, window.whole
        for subscriber in self._subscribers:
            subscriber.reach(window.until)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


TAIL = web.AppKey("tail", Tail)
