"""The streamer: reserves a chunk, reads it, publishes it. The chunk's lease ends when it lands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from gputel import metrics
from gputel.backoff import Backoff, pause
from gputel.config.settings import StreamerSettings
from gputel.errors import GputelError, QueueClosed, StoreUnavailable
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.outage import Outage
from gputel.store.write.streams import ChunkLease, Streams
from gputel.streamer.pacer import Pacer
from gputel.streamer.publisher import ReadChunk, make_message, message_id, publish
from gputel.streamer.waiting import until_there

log = logging.getLogger("gputel.streamer")

_IN_HAND = 2  # chunks read but not published: this bounds memory
_IDLE_S = 0.05  # between two checks while other streamers have the last chunks
_SETTLE_POLL_S = 0.05
_SETTLE_SOON = 20  # polls; what takes longer is told of
_ANSWER_S = 5.0  # a broker that takes longer is away
_REJECTS_LOGGED = 10
_ON_THE_WAY = ("ready", "in_flight")  # states of messages at the broker


class Source(Protocol):
    """A source of rows. Its methods block: they are called in a thread, one at a time.

    A line of it has ``rows_per_line`` rows. Chunks end with a line, so that none is read twice.
    """

    @property
    def rows_per_line(self) -> int:
        """At least 1."""
        ...

    def read(self, first_row: int, row_count: int) -> ReadChunk:
        """Rows from ``first_row`` on; fewer than ``row_count`` only at the end."""
        ...

    def count_rows(self) -> int:
        """The number of rows of the source."""
        ...

    @property
    def damage(self) -> str | None:
        """Why the source ended too early, once that end has been reached."""
        ...


class Observer(Protocol):
    """Called for every chunk; an ingest makes its report from it."""

    def chunk_read(self, chunk: ReadChunk) -> None:
        """Called on the event loop; again for a chunk that is read again after a takeover."""
        ...

    def chunk_dead(self, lease: ChunkLease) -> None:
        """The message of this chunk is a dead letter at the broker: it will not land."""
        ...


class Streamer:
    """Streams one source. Many streamers, in many processes, can share a stream."""

    def __init__(
        self,
        settings: StreamerSettings,
        client: QueueClient,
        streams: Streams,
        source: Source,
        observer: Observer | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._streams = streams
        self._source = source
        self._observer = observer
        self._broker_outage = Outage(log, "the broker")
        self._database_outage = Outage(log, "the database")
        self._publishing: dict[int, asyncio.Task[None]] = {}
        self._published: set[int] = set()
        self._rejects_logged: set[int] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Stream until ``stopping`` is set, or until all rows of a one-shot source have landed.

        When it is stopped, it publishes what it has read, and waits for its chunks to land as long
        as the broker holds them. It releases the others, whose rows are read again. Raises
        SourceError when the source cannot be read.
        """
        pacer = Pacer(self._settings.rate, asyncio.get_running_loop().time)
        rows = pacer.chunk_rows(self._settings.chunk_rows, self._settings.chunk_interval_s)
        rows = -(-rows // self._source.rows_per_line) * self._source.rows_per_line
        try:
            while not stopping.is_set():
                self._reap()
                lease = await self._reserve(rows, stopping)
                if lease is None:
                    if await self._complete(stopping):
                        self._log_end()
                        return
                    continue
                sent = await self._stream(lease, stopping)
                await pacer.wait(sent, stopping)
            await self._settle()
        finally:
            await self._hand_back()

    def _log_end(self) -> None:
        log.info("every row of stream %r has landed", self._streams.stream_id)
        if self._source.damage and not self._observer:
            log.warning(
                "%s: %s: the rows before that have landed; get a complete copy of the file",
                self._streams.stream_id,
                self._source.damage,
            )

    async def _reserve(self, rows: int, stopping: asyncio.Event) -> ChunkLease | None:
        lease_s = self._settings.chunk_lease_s
        reserve = partial(self._streams.reserve, rows, lease_s)
        return await until_there(reserve, self._database_outage, stopping)

    async def _complete(self, stopping: asyncio.Event) -> bool:
        """When no chunk is free: whether all have landed. Waits a little if others have some."""
        try:
            progress = await self._streams.progress()
        except StoreUnavailable:
            return False
        if progress.complete:
            return True
        await pause(_IDLE_S, stopping)
        return False

    async def _stream(self, lease: ChunkLease, stopping: asyncio.Event) -> int:
        """Read and publish one chunk; returns the rows sent."""
        if lease.taken_over:
            metrics.STREAMER_TAKEOVERS.inc()
            if lease.first_row in self._publishing or await self._is_at_broker(lease):
                return 0
        rows, message = await self._read(lease, stopping)
        if message:
            await self._publish_soon(lease.first_row, message, stopping)
        return rows

    async def _read(
        self, lease: ChunkLease, stopping: asyncio.Event
    ) -> tuple[int, OutgoingMessage | None]:
        """The rows of a chunk, and its message; the chunk itself, often large, is freed."""
        chunk = await asyncio.to_thread(self._source.read, lease.first_row, lease.row_count)
        metrics.STREAMER_ROWS_READ.inc(chunk.row_count - chunk.skipped)
        metrics.STREAMER_ROWS_REJECTED.inc(len(chunk.rejects))
        if self._observer:
            self._observer.chunk_read(chunk)
        else:
            self._log_rejects(chunk.rejects)
        if chunk.at_end and not self._settings.loop:
            await self._finish(chunk, stopping)
        if not chunk.row_count:
            return 0, None
        stream_id, looping = self._streams.stream_id, self._settings.loop
        return chunk.row_count, await make_message(stream_id, chunk, looping=looping)

    def _log_rejects(self, rejects: Sequence[Any]) -> None:
        """Log the first rejects, each once: every pass of a loop has the same ones."""
        for reject in rejects:
            if reject.line in self._rejects_logged or len(self._rejects_logged) > _REJECTS_LOGGED:
                continue
            self._rejects_logged.add(reject.line)
            if len(self._rejects_logged) > _REJECTS_LOGGED:
                log.warning("more lines are rejected: see gputel_streamer_rows_rejected_total")
                return
            where = f"line {reject.line}" + (f", column {reject.column}" if reject.column else "")
            log.warning("%s: rejected %s: %s", self._streams.stream_id, where, reject.reason)

    async def _is_at_broker(self, lease: ChunkLease) -> bool:
        """Whether the broker has the chunk's message, so that the chunk need not be read again."""
        try:
            state = (await self._held([lease.first_row]))[0]
        except Exception:  # away, or closing: the publish will report it
            return False
        if state == "dead":
            log.error(
                "the message of the rows from %d is a dead letter at the broker", lease.first_row
            )
            if self._observer:
                self._observer.chunk_dead(lease)
        return state is not None

    async def _finish(self, chunk: ReadChunk, stopping: asyncio.Event) -> None:
        rows = chunk.first_row + chunk.row_count
        if not chunk.row_count:
            rows = await asyncio.to_thread(self._source.count_rows)
        backoff = Backoff()
        while True:
            try:
                return await self._streams.finish(rows)
            except StoreUnavailable:
                if await backoff.wait(stopping):
                    return None

    async def _publish_soon(
        self, first_row: int, message: OutgoingMessage, stopping: asyncio.Event
    ) -> None:
        stopped = asyncio.ensure_future(stopping.wait())
        while len(self._publishing) >= _IN_HAND and not stopping.is_set():
            waited_for = {stopped, *self._publishing.values()}
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            self._reap()
        stopped.cancel()
        publishing = asyncio.create_task(self._publish(first_row, message, stopping))
        self._publishing[first_row] = publishing

    def _reap(self) -> None:
        for first_row, task in list(self._publishing.items()):
            if task.done():
                del self._publishing[first_row]
                task.result()

    async def _publish(
        self, first_row: int, message: OutgoingMessage, stopping: asyncio.Event
    ) -> None:
        try:
            published = await publish(self._client, [message], self._broker_outage, stopping)
        except QueueClosed:
            log.warning("the broker accepts no more messages: releasing the rows")
            await pause(self._settings.chunk_interval_s, stopping)
            published = None
        if published is None:
            await self._release([first_row])
        else:
            self._published.add(first_row)
            self._forget_settled()

    def _forget_settled(self) -> None:
        """Bound the list of chunks to wait for when stopped."""
        if len(self._published) > 1024:
            self._published = set(sorted(self._published)[-512:])

    async def _settle(self) -> None:
        """Wait until all chunks have landed that the broker holds; the caller sets the deadline."""
        if self._publishing:
            await asyncio.wait(self._publishing.values(), timeout=_ANSWER_S)
            self._reap()
        looks = 0
        try:
            while await self._unsettled():
                await self._give_up_lost()
                looks += 1
                if looks == _SETTLE_SOON and self._published:
                    log.info(
                        "waiting for %d chunk(s) to land, which the broker holds",
                        len(self._published),
                    )
                await asyncio.sleep(_SETTLE_POLL_S)
        except StoreUnavailable:
            return

    async def _unsettled(self) -> set[int]:
        """The published chunks that have not landed yet."""
        self._published &= await self._streams.unsettled(sorted(self._published))
        return self._published

    async def _give_up_lost(self) -> None:
        """Release the published chunks that the broker does not hold, or cannot be asked about."""
        asked = sorted(self._published)
        try:
            states = await self._held(asked)
            why = "the broker has lost messages"
        except (GputelError, TimeoutError):
            states, why = [None] * len(asked), "the broker is away"
        waiting = {row for row, state in zip(asked, states, strict=True) if state in _ON_THE_WAY}
        lost = await self._unsettled() - waiting  # asked last: they may have landed meanwhile
        if lost:
            text = "%s: %d chunk(s) have not landed, their rows are read again later"
            log.warning(text, why, len(lost))
            await self._release(sorted(lost))
            self._published -= lost

    async def _held(self, first_rows: Sequence[int]) -> Sequence[str | None]:
        """The states of the messages of chunks at the broker. Raises GputelError, TimeoutError."""
        ids = [message_id(self._streams.stream_id, row) for row in first_rows]
        async with asyncio.timeout(_ANSWER_S):
            return await self._client.held(ids)

    async def _hand_back(self) -> None:
        """Release the chunks that were not published."""
        rows = sorted(self._publishing)
        for task in self._publishing.values():
            task.cancel()
        if rows:
            await asyncio.gather(*self._publishing.values(), return_exceptions=True)
            await self._release(rows)

    async def _release(self, first_rows: list[int]) -> None:
        try:
            await self._streams.release(first_rows)
        except StoreUnavailable:
            log.warning(
                "the database is away: %d chunk leases are not released, they run out later",
                len(first_rows),
            )
