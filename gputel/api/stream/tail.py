"""The one reader of what lands in a process, and its subscribers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from gputel import metrics
from gputel.api.stream.events import RecordEvents
from gputel.api.stream.place import Place
from gputel.api.stream.subscriber import Batch, Delivery, Gap, Sieve, Subscriber
from gputel.config import ApiSettings
from gputel.errors import StoreError, TooManyStreams
from gputel.store.landing import Landings, LandingsGone, Position, Window
from gputel.store.reader import Reader
from gputel.store.selection import Selection

log = logging.getLogger("gputel.api")

_POLL_S = 0.1
_DEMAND_S = 5.0
_BEGIN_S = 5.0
_AWAY_S = 1.0


class Tail:
    """Looks for landings while it has subscribers, and hands each to all of them."""

    def __init__(self, reader: Reader, settings: ApiSettings) -> None:
        self.heartbeat_s = settings.stream_heartbeat_s
        self.events = RecordEvents()
        self._landings = Landings(reader, settings.stream_replay, settings.stream_replay_max_bytes)
        self._most_lag = settings.stream_max_lag
        self._places = settings.stream_max_clients
        self._subscribers: set[Subscriber] = set()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._position: Position | None = None
        self._demanded_at = 0.0
        self._closed = False

        # The window that is being handed out, how many of its batches have been, and to whom.
        self._window: Window | None = None
        self._handed = 0
        self._audience: tuple[Subscriber, ...] = ()

    @asynccontextmanager
    async def subscribe(self, selection: Selection) -> AsyncIterator[Subscriber]:
        """Be told of what lands from now on.

        Raises TooManyStreams where as many are open as may be, StoreError where the store is away.
        """
        if self._places <= 0:
            raise TooManyStreams(
                "as many streams are open as may be: close one, or raise --stream-max-clients"
            )
        self._places -= 1
        try:
            with metrics.API_STREAM_CLIENTS.track_inprogress():
                subscriber = await self._joined(selection)
                try:
                    yield subscriber
                finally:
                    self._subscribers.discard(subscriber)
        finally:
            self._places += 1

    async def _joined(self, selection: Selection) -> Subscriber:
        async with self._starting:
            if self._position is None:
                self._position = await self._begin()
            # What is being handed out goes to those who were there when that began.
            start = self._window.until if self._window else self._position
            subscriber = Subscriber(selection, self._most_lag, start)
            self._subscribers.add(subscriber)
            if self._task is None:
                self._task = asyncio.create_task(self._run())
        if self._closed:
            subscriber.close()
        return subscriber

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def replay(
        self, place: Place, selection: Selection, until: Position
    ) -> AsyncGenerator[Delivery, None]:
        """What landed after a place and up to a position. Raises LandingsGone, as ``Landings``."""
        sieve = Sieve(selection)
        steps = [(place.position, until, 0)]
        if place.until is not None:
            middle = replace(place.position, snapshot=place.until)
            steps = [(place.position, middle, place.passed), (middle, until, 0)]
        for after, before, passed in steps:
            window = await self._landings.between(after, before)
            for number, parts in enumerate(window.batches, 1):
                records = await self._landings.read(parts)
                batch = Batch(window, records, is_last=number == len(window.batches))
                yield sieve.deliver(batch, passed)

    async def _begin(self) -> Position:
        """Where the stream begins: once what lands is kept, but for what takes long to commit."""
        deadline = self._now() + _BEGIN_S
        while True:
            epoch = await self._demand()
            found = await self._landings.position(epoch)
            if found is not None and (found[1] or self._now() > deadline):
                return found[0]
            await asyncio.sleep(_POLL_S)

    async def _demand(self) -> int:
        epoch = await self._landings.demand()
        self._demanded_at = self._now()
        return epoch

    async def _run(self) -> None:
        """Until the last subscriber has gone."""
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
            log.exception("the live stream ends by an error that was not foreseen")
        finally:
            self._task = self._position = self._window = None
            for subscriber in self._subscribers:
                subscriber.close()

    async def _look(self) -> None:
        assert self._position is not None
        if self._now() - self._demanded_at > _DEMAND_S:
            await self._demand()
        try:
            if self._window is None:
                self._window = await self._landings.since(self._position)
                self._handed, self._audience = 0, tuple(self._subscribers)
            await self._hand_out(self._window)
            position = self._window.until
        except LandingsGone as error:
            log.warning("the live stream has a gap: %s", error.message)
            position = await self._begin()
            for subscriber in self._subscribers:
                subscriber.offer(Gap())
        self._window, self._position = None, position
        for subscriber in self._subscribers:
            subscriber.reach(position)

    async def _hand_out(self, window: Window) -> None:
        """Hand out what of a window has not been: it may have been broken off."""
        while self._handed < len(window.batches):
            records = await self._landings.read(window.batches[self._handed])
            self._handed += 1
            batch = Batch(window, records, is_last=self._handed == len(window.batches))
            for subscriber in self._audience:
                subscriber.offer(batch)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
