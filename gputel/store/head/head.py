"""The newest hours of the store in the memory of a process that answers queries.

It is filled from a snapshot of Postgres, and then follows the landings. Before each answer it asks
Postgres what has landed since, so an answer is what Postgres would have given at that moment.
While it is not filled, Postgres answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import numpy as np

from gputel import metrics
from gputel.backoff import Backoff
from gputel.errors import StoreError, StoreUnavailable
from gputel.store.blocks.samples import Samples, concatenate, micros, ordered
from gputel.store.head.fill import fill, learn
from gputel.store.head.piece import Piece
from gputel.store.head.series_table import SeriesTable
from gputel.store.head.state import SEGMENT_US, HeadState, merge
from gputel.store.head.view import HeadView, JoinedView
from gputel.store.pool import store_errors
from gputel.store.read.reader import Connection, Reader
from gputel.store.read.view import SeriesView, StoredView
from gputel.store.write.recent_landings import (
    Follower,
    Kind,
    LandingPart,
    LandingPosition,
    Landings,
    LandingsGone,
    LandingWindow,
    in_batches,
)
from gputel.threads import READING

log = logging.getLogger("gputel.api")

_KEEP = timedelta(minutes=5)
"""How far an api may fall behind before it has to fill its memory anew."""
_KEEP_BYTES = 64 * 2**20
_POLL_S = 0.5
_DEMAND_S = 5.0
_BEGIN_S = 0.1
_AGAIN_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LEAST_SESSIONS = 4  # of a pool that can spare one
_MANY = 5_000  # samples, or series
_ENDED = {
    Kind.DELETED: "samples have been deleted",
    Kind.ALL: "a collector of an older release has landed samples",
}


class Head:
    """The samples of ``span`` before now, in at most ``max_bytes``; ``run`` keeps it up to date."""

    def __init__(self, reader: Reader, span: timedelta, max_bytes: int) -> None:
        self._reader = reader
        self._span = span
        self._span_us = span // timedelta(microseconds=1)
        self._max_bytes = max_bytes
        self._landings = Landings(reader, _KEEP, _KEEP_BYTES, Follower.HEAD, span)
        self._state: HeadState | None = None
        self._table = SeriesTable()
        self._position: LandingPosition | None = None
        self._advancing = asyncio.Lock()
        self._begun = 0  # the number of the last advance that began
        self._done = 0  # and of the last one that succeeded
        self._now_us = 0  # by the clock of Postgres, when it was last asked what has landed
        self._is_short = False
        self._session: Connection | None = None

    @property
    def floor_us(self) -> int | None:
        """From when on all samples are in memory; None while none are."""
        return None if self._state is None else self._state.floor_us

    def holds(self, first_us: int) -> bool:
        """Whether it has all samples from this time on."""
        return self._state is not None and first_us >= self._state.floor_us

    @asynccontextmanager
    async def view(self, first_us: int, last_us: int) -> AsyncIterator[SeriesView]:
        """The store as it is now, for samples from ``first_us`` to ``last_us``."""
        state = await self._advanced(first_us)
        if state is not None and first_us >= state.floor_us:
            metrics.API_HEAD_READS.labels("head").inc()
            yield HeadView(state, self._table, self._reader.known)
            return
        async with self._reader.snapshot() as connection:
            known = self._reader.known
            if state is not None and last_us >= state.floor_us:
                state = await self._advanced_to(connection)
            if state is None or last_us < state.floor_us:
                metrics.API_HEAD_READS.labels("postgres").inc()
                yield StoredView(connection, known)
            else:
                metrics.API_HEAD_READS.labels("both").inc()
                yield JoinedView(connection, known, HeadView(state, self._table, known))

    async def run(self) -> None:
        """Fill the memory and keep it up to date, until cancelled."""
        backoff, told = Backoff(_AGAIN_S, _LONGEST_PAUSE_S), ""
        while True:
            try:
                await self._follow(backoff)
            except LandingsGone as error:
                self._lose(error)
            except StoreError as error:
                if error.message != told:
                    told = error.message
                    log.warning("the head cannot be kept up to date: %s", told)
            except Exception:
                log.exception("the head ends because of an unexpected error, and is filled anew")
                self._forget()
            await asyncio.sleep(backoff.next_s())

    async def _follow(self, backoff: Backoff) -> None:
        epoch = await self._landings.demand()
        demands = asyncio.create_task(self._keep_demanding())
        try:
            if self._state is None:
                await self._fill(await self._begin(epoch))
            async with self._with_own_session() as session:
                await self._keep_up(backoff, session, demands)
        finally:
            demands.cancel()
            await asyncio.wait({demands})
        if not demands.cancelled():
            demands.result()

    @asynccontextmanager
    async def _with_own_session(self) -> AsyncIterator[Connection | None]:
        """Keep a session, so that asking what has landed is one round trip, if the pool is large.

        Otherwise each question takes a session of the pool, and gives it back.
        """
        if self._reader.most_sessions < _LEAST_SESSIONS:
            yield None
            return
        async with self._reader.session() as session:
            self._session = session
            try:
                yield session
            finally:
                async with self._advancing:
                    self._session = None

    async def _keep_up(
        self, backoff: Backoff, session: Connection | None, demands: asyncio.Task[None]
    ) -> None:
        """Do what is due until the memory, its session or the demand is lost."""
        steady_from = asyncio.get_running_loop().time() + _LONGEST_PAUSE_S
        while self._state is not None and self._session is session and not demands.done():
            await self._advance()
            if asyncio.get_running_loop().time() > steady_from:
                backoff.reset()
            await self._merge()
            await self._tidy()
            self._measure()
            await asyncio.sleep(_POLL_S)

    async def _keep_demanding(self) -> None:
        while True:
            await asyncio.sleep(_DEMAND_S)
            await self._landings.demand()

    async def _begin(self, epoch: int) -> LandingPosition:
        """A position from which on all that lands is kept, once no older transaction is open."""
        while True:
            found = await self._landings.position(epoch)
            if found is None:
                raise LandingsGone("another demand has begun")
            position, is_whole = found
            if is_whole:
                return position
            await asyncio.sleep(_BEGIN_S)

    async def _fill(self, position: LandingPosition) -> None:
        """Read the newest samples from one snapshot, which is a position after this one."""
        async with self._reader.snapshot() as connection:
            window = await self._landings.since(position, connection)
            floor_us = micros(window.now) - self._span_us
            filled = await fill(connection, self._reader.known, floor_us, self._max_bytes)
        self._state, self._table = filled
        self._position, self._now_us = window.until, micros(window.now)
        metrics.API_HEAD_FILLS.inc()
        for number in sorted(self._state.segments, reverse=True):
            await self._merge_segment(number)
        if self._state is not None:
            log.info("the head holds %s", self._size())

    async def _advanced(self, first_us: int) -> HeadState | None:
        """The memory, with all that had landed when this was called; None if it is not filled.

        Calls that come while one is under way share the next one.
        """
        state = self._state
        if state is None or first_us < state.floor_us:
            return state
        number = self._begun + 1
        async with self._advancing:
            if self._done < number:
                await self._guarded(None)
        return self._state

    async def _advanced_to(self, connection: Connection) -> HeadState | None:
        """The memory as of the snapshot of this connection, which has not been used before."""
        async with self._advancing:
            return await self._guarded(connection)

    async def _advance(self) -> None:
        async with self._advancing:
            await self._guarded(None)

    async def _guarded(self, connection: Connection | None) -> HeadState | None:
        """Take in what has landed. If not all of it is known, forget everything."""
        if self._state is None or self._position is None:
            return None
        self._begun += 1
        try:
            if connection is not None or not await self._taken_in(self._session):
                await self._take_in(self._state, self._position, connection)
            self._done = self._begun
        except LandingsGone as error:
            self._lose(error)
        except StoreError:
            raise
        except Exception:
            log.exception("the head is filled anew after an unexpected error; Postgres answers")
            self._forget()
        return self._state

    async def _taken_in(self, session: Connection | None) -> bool:
        """Whether the session of its own was there to ask; one that has ended is given up."""
        if session is None or self._state is None or self._position is None:
            return False
        try:
            await self._take_in(self._state, self._position, session)
        except StoreUnavailable:
            self._session = None
            return False
        return True

    async def _take_in(
        self, state: HeadState, position: LandingPosition, connection: Connection | None
    ) -> None:
        async with store_errors():
            window = await self._landings.since(position, connection)
            state = await self._with(state, window, connection)
        self._state, self._position, self._now_us = state, window.until, micros(window.now)

    async def _with(
        self, state: HeadState, window: LandingWindow, connection: Connection | None
    ) -> HeadState:
        if not window.whole:
            raise LandingsGone("some of what landed may not have been kept")
        for part in window.parts:
            if part.kind in _ENDED:
                raise LandingsGone(_ENDED[part.kind])
        recent = [part for part in window.parts if part.kind == Kind.RECENT]
        ends = [part for part in window.parts if part.kind == Kind.ENDS]
        samples, ended = await self._read(recent, connection), await self._read(ends, connection)
        known = state.newest.series_id
        state = await READING.run_if(len(samples) > _MANY, state.with_landed, samples, ended)
        if len(state.newest) > len(known):
            fresh = np.setdiff1d(state.newest.series_id, known, assume_unique=True)
            if connection is not None:
                await learn(connection, self._reader.known, self._table, fresh)
            else:
                async with self._reader.session() as own:
                    await learn(own, self._reader.known, self._table, fresh)
        state = state.raised(micros(window.now) - self._span_us)
        bounded = state.bounded(self._max_bytes - self._table.nbytes)
        if bounded is not state and not self._is_short:
            log.warning("the head holds less than --head-window, because of --head-max-bytes")
        self._is_short |= bounded is not state
        return bounded

    async def _read(self, parts: Sequence[LandingPart], connection: Connection | None) -> Samples:
        read = [await self._landings.samples(each, connection) for each in in_batches(parts)]
        many = sum(map(len, read)) > _MANY
        return await READING.run_if(many, ordered, concatenate(read))

    async def _merge(self) -> None:
        """Make few pieces of many, and pack segments in which little lands any more."""
        state = self._state
        if state is None or not state.segments:
            return
        open_from = self._now_us // SEGMENT_US - 1
        for number, segment in state.segments.items():
            if number < open_from and not segment.is_packed:
                await self._merge_segment(number)
            elif loose := segment.loose():
                await self._put(number, loose, pack=False)

    async def _merge_segment(self, number: int) -> None:
        segment = self._state.segments.get(number) if self._state is not None else None
        if segment is not None and segment.pieces:
            await self._put(number, segment.pieces, pack=True)

    async def _put(self, number: int, pieces: Sequence[Piece], *, pack: bool) -> None:
        fewer = await READING.run(merge, pieces, pack=pack)
        async with self._advancing:
            if self._state is not None:
                self._state = self._state.replaced(number, pieces, fewer, packed=pack)

    async def _tidy(self) -> None:
        """Forget the labels of series that have no samples here any more, if they are many."""
        state, table = self._state, self._table
        if state is None:
            return
        present = state.newest.series_id
        if len(table) > _MANY + 2 * len(present):
            kept = await READING.run(SeriesTable, table.of(present.tolist()))
            async with self._advancing:
                if self._state is not None:
                    kept.add(table.of(kept.unknown(self._state.newest.series_id.tolist())))
                    self._table = kept

    def _lose(self, reason: LandingsGone) -> None:
        """Forget everything: it is not known what is missing. ``run`` fills it anew."""
        log.info("the head is filled anew, and Postgres answers meanwhile: %s", reason.message)
        self._forget()

    def _forget(self) -> None:
        self._state = self._position = None
        self._table = SeriesTable()
        self._measure()

    def note(self) -> str | None:
        """What people should know: that the window had to be shortened."""
        if self._state is None or self._window_us >= self._span_us - SEGMENT_US:
            return None
        return (
            f"it holds {self._size()}, the limit (--head-max-bytes), not the {self._span} of "
            "--head-window; Postgres answers about what is older"
        )

    @property
    def _window_us(self) -> int:
        return 0 if self._state is None else self._now_us - self._state.floor_us

    def _size(self) -> str:
        """For people: the window, and what it takes."""
        assert self._state is not None
        window = timedelta(seconds=self._window_us // 1_000_000)
        size = (self._state.nbytes + self._table.nbytes) / 2**20
        return (
            f"the newest {window}: {self._state.samples} samples of {len(self._table)} series in "
            f"{size:.1f} MiB"
        )

    def _measure(self) -> None:
        state, table = self._state, self._table
        metrics.API_HEAD_SAMPLES.set(state.samples if state else 0)
        metrics.API_HEAD_SERIES.set(len(table))
        metrics.API_HEAD_BYTES.set(state.nbytes + table.nbytes if state else 0)
        metrics.API_HEAD_WINDOW.set(self._window_us / 1e6)
