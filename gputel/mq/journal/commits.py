"""Group commits: records that come while one group is written go with the next group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gputel.errors import JournalBroken
from gputel.mq.journal.files import JournalFiles
from gputel.mq.journal.records import RecordKind, encode_record, padded
from gputel.mq.journal.space import Segment, Space
from gputel.mq.journal.worker import Committer, JournalThread, Write

log = logging.getLogger("gputel.journal")

Observe = Callable[[float, float | None], None]
"""Called after each commit with its seconds and those of its sync; None without a sync."""


@dataclass(frozen=True)
class JournalOptions:
    """The options of a journal. ``sync`` is ``always``, ``interval`` or ``off``."""

    sync: str = "always"
    sync_interval_s: float = 0.1
    segment_bytes: int = 32 * 1024 * 1024


class RecordSource(Protocol):
    """The owner of the records."""

    def gather(self) -> None:
        """Add the records that are not added yet, before a commit. May raise JournalBroken."""

    def pending(self) -> bool:
        """Whether ``gather`` would add anything."""

    def committed(self, trimmed: list[int]) -> None:
        """A commit has ended; it recorded that these segments are not needed."""

    def lost(self) -> None:
        """The journal can no longer be trusted."""


class Commits:
    """The commits of one journal. ``urgent``: whether a caller may wait for the pending records."""

    def __init__(
        self,
        files: JournalFiles,
        options: JournalOptions,
        space: Space,
        source: RecordSource,
        observe: Observe,
    ) -> None:
        self._options = options
        self._space = space
        self._source = source
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._worker = JournalThread("journal-commit")
        self._committer = Committer(files)
        self._directory: Path = files.directory
        self._pieces: list[tuple[Segment, int, list[bytes]]] = []
        self._trimmed: list[int] = []
        self._next = self._loop.create_future()
        self._running: asyncio.Future[None] | None = None
        self._scheduled = False
        self._closed = False
        self._sync_timer: asyncio.TimerHandle | None = None
        self.sequence = 0
        self.urgent = False
        self.broken = ""
        self.count = 0

    @property
    def stalled(self) -> bool:
        """Whether a write waits for space on the disk."""
        return self._committer.stalled

    def add(self, kind: RecordKind, body: bytes) -> Segment:
        """Assign a place to a record for the next commit. Raises JournalBroken without room."""
        size = padded(len(body))
        try:
            segment, at = self._space.place(size)
        except LookupError as error:
            self._break(str(error))
            raise JournalBroken(self.broken) from None
        self.sequence += 1
        data = encode_record(kind, self.sequence, body, segment.seed)
        if self._pieces and self._pieces[-1][0] is segment:
            self._pieces[-1][2].append(data)
        else:
            self._pieces.append((segment, at, [data]))
        self.schedule()
        return segment

    def trim(self, segments: list[int]) -> None:
        """Let these be deleted after the next commit, which records it, is on the disk."""
        self._trimmed += segments
        self.urgent = True

    def schedule(self) -> None:
        """Commit the pending records soon."""
        if not self._scheduled and self._running is None and not self.broken:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    async def confirm(self) -> None:
        """Wait until all records pending before this call are as safe as ``sync`` says.

        Raises JournalBroken.
        """
        self.check()
        waits_for = self._next if self.urgent else self._running
        if waits_for is not None:
            await asyncio.shield(waits_for)
            self.check()

    def check(self) -> None:
        """Raise JournalBroken when the journal can no longer be trusted."""
        if self.broken:
            raise JournalBroken(self.broken)

    async def close(self) -> None:
        """Write and sync all pending records."""
        self._closed = True
        self._committer.stopping = True
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        self.urgent = True
        while not self.broken and (self._pieces or self._source.pending()):
            self.schedule()
            await asyncio.shield(self._next)
        while self._running is not None and not self.broken:
            await asyncio.shield(self._running)
        if not self.broken:
            self._running = self._loop.create_future()
            self._commit([], [], sync=self._options.sync != "off")
            await self._running
        await self._worker.stop()

    # ------------------------------------------------------------------ inside

    def _flush(self) -> None:
        self._scheduled = False
        if self._running is not None or self.broken:
            return
        try:
            self._source.gather()
        except JournalBroken:
            return
        if not self._pieces:
            self._nothing_to_commit()
            return
        writes = [Write(s.number, at, b"".join(data)) for s, at, data in self._pieces]
        urgent, trimmed = self.urgent, self._trimmed
        self._pieces, self.urgent, self._trimmed = [], False, []
        self._running, self._next = self._next, self._loop.create_future()
        policy = self._options.sync
        # Messages moved out of a segment must be on the disk before the segment is deleted.
        sync = (policy == "always" and urgent) or (policy == "interval" and bool(trimmed))
        self._commit(writes, trimmed, sync=sync)

    def _nothing_to_commit(self) -> None:
        self.urgent = False
        if not self._next.done():
            self._next.set_result(None)
        self._next = self._loop.create_future()

    def _commit(self, writes: list[Write], trimmed: list[int], *, sync: bool) -> None:
        assert self._space.current is not None
        current = self._space.current.number

        def done(error: BaseException | None) -> None:
            self._committed(error, trimmed, synced=sync)

        self._worker.submit(lambda: self._committer.commit(writes, current, sync=sync), done)

    def _committed(self, error: BaseException | None, trimmed: list[int], *, synced: bool) -> None:
        running, self._running = self._running, None
        if error is not None:
            self._break(f"{error}")
        if running is not None and not running.done():
            running.set_result(None)  # the waiting callers check ``broken`` then
        if self.broken:
            return
        self.count += 1
        self._observe(self._committer.seconds, self._committer.sync_seconds)
        if not synced and self._options.sync == "interval":
            self._sync_later()
        self._source.committed(trimmed)
        if self._pieces or self._source.pending():
            self._flush()

    def _sync_later(self) -> None:
        if self._sync_timer is None and not self._closed:
            self._sync_timer = self._loop.call_later(self._options.sync_interval_s, self._sync_now)

    def _sync_now(self) -> None:
        self._sync_timer = None
        if self._running is not None or self.broken:
            self._sync_later()
            return
        self._running = self._loop.create_future()
        self._commit([], [], sync=True)

    def _break(self, why: str) -> None:
        if self.broken:
            return
        self.broken = (
            f"the journal in {self._directory} can no longer be trusted ({why}): nothing "
            "is confirmed any more; check the disk, then restart the broker"
        )
        log.error("%s", self.broken)
        for waiting in (self._next, self._running):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        self._source.lost()
