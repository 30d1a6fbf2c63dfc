"""The threads in which the journal uses the disk, so that the event loop never waits for it."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

from gputel.mq.journal.files import JournalFiles

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_RETRY_S = 0.25

Job = Callable[[], None]
Done = Callable[[BaseException | None], None]


class JournalThread:
    """One thread that runs jobs in order and reports the end of each to the event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run ``job`` in the thread, then call ``done`` on the loop with its error, or None."""
        self._jobs.put((job, done))

    async def stop(self) -> None:
        """End the thread after the jobs submitted so far."""
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while (work := self._jobs.get()) is not None:
            job, done = work
            error: BaseException | None = None
            try:
                job()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: there is no one to report to
                self._loop.call_soon_threadsafe(done, error)


class Write(NamedTuple):
    """Bytes for an offset of a segment."""

    segment: int
    offset: int
    data: bytes


class Committer:
    """Writes and syncs; used from one thread only."""

    def __init__(self, files: JournalFiles) -> None:
        self._files = files
        self._dirty: set[int] = set()
        self.stopping = False
        self.stalled = False
        self.seconds = 0.0  # of the last commit
        self.sync_seconds: float | None = None  # of its sync; None: it had none

    def commit(self, writes: Sequence[Write], current: int, *, sync: bool) -> None:
        """Write in order; with ``sync``, return when all that was written is on the disk.

        While the disk is full, it waits and then writes the same bytes again. Any other error is
        final. Raises OSError.
        """
        started = time.perf_counter()
        for write in writes:
            self._dirty.add(write.segment)
            self._write(write)
        self.sync_seconds = None
        if sync:
            syncing = time.perf_counter()
            for segment in sorted(self._dirty):
                self._files.sync(segment)
            self.sync_seconds = time.perf_counter() - syncing
            for segment in self._dirty - {current}:
                self._files.release(segment)
            self._dirty.clear()
        self.seconds = time.perf_counter() - started

    def _write(self, write: Write) -> None:
        while True:
            try:
                self._files.write(write.segment, write.data, write.offset)
            except OSError as error:
                # Happens only where blocks cannot be reserved: on file systems that copy on write.
                if error.errno not in NO_SPACE or self.stopping:
                    raise
                self.stalled = True
                time.sleep(_RETRY_S)
            else:
                self.stalled = False
                return
