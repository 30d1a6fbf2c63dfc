"""One file's ingest: a one-shot streamer, watched until its last row has landed."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from gputel.backoff import pause
from gputel.errors import GputelError, SourceError, StoreUnavailable
from gputel.mq.client import QueueClient
from gputel.roles import Process
from gputel.store.streams import Lease, Progress, Streams
from gputel.streamer.open_source import OpenSource, open_source
from gputel.streamer.streamer import SourceChunk, Streamer

_POLL_S = 0.1
_EXAMPLES = 5  # rejects that the report itself shows
_REJECT_COLUMNS = ("file", "line", "column", "reason", "text")


class DeadChunk(GputelError):
    """Rows reached the broker and can never land; its dead letters say why."""

    code = "dead_letter"


@dataclass
class Report:
    """What became of one file."""

    file: str
    stream_id: str
    rows_read: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    rejected_before: int = 0  # by an earlier run, whose rejects file has them
    duplicates_dropped: int = 0
    seconds: float = 0.0
    complete: bool = False
    rejects_file: str | None = None
    first_rejects: list[str] = field(default_factory=list)

    @property
    def rows_per_s(self) -> float:
        """Rows landed each second, from open file to queryable."""
        return self.rows_landed / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, object]:
        """The report for a program."""
        return dataclasses.asdict(self) | {"rows_per_s": round(self.rows_per_s, 1)}


class Rejects:
    """The rejects file: every rejected line with its place and its reason; made when needed."""

    def __init__(self, path: Path, *, append: bool) -> None:
        self.path = path
        self._append = append
        self._file: TextIO | None = None

    def check(self) -> None:
        """Raise SourceError, before anything is read, for a place that cannot be written."""
        place = self.path if self.path.exists() else self.path.parent
        if not os.access(place, os.W_OK):
            raise SourceError(_not_written(self.path, "no such directory, or no right to write"))

    def write(self, source: Path, chunk: SourceChunk) -> None:
        """Keep the rejects of one chunk. Raises SourceError when they cannot be written."""
        try:
            if self._file is None:
                self._file = self._open()
            writer = csv.writer(self._file)
            for reject in chunk.rejects:
                place = (source, reject.line, reject.column or "")
                writer.writerow((*place, reject.reason, reject.text))
            self._file.flush()
        except OSError as error:
            raise SourceError(_not_written(self.path, error.strerror or str(error))) from None

    def _open(self) -> TextIO:
        fresh = not (self._append and self.path.exists())
        file = self.path.open("w" if fresh else "a", encoding="utf-8", newline="")
        if fresh:
            csv.writer(file).writerow(_REJECT_COLUMNS)
        return file

    def close(self) -> str | None:
        """Close the file; returns its path if there is one."""
        if self._file is None:
            return None
        self._file.close()
        return str(self.path)


def _not_written(path: Path, reason: str) -> str:
    return f"cannot write the rejects file {path} ({reason}): name another with --rejects"


class Job:
    """Watches a streamer: counts what it reads, keeps its rejects, notes what cannot land."""

    def __init__(self, opened: OpenSource, start: Progress, rejects: Rejects) -> None:
        self._opened = opened
        self._start = start
        self._rejects = rejects
        self._read: dict[int, tuple[int, int]] = {}  # first row -> rows, rejects
        self.dead: Lease | None = None
        self.examples: list[str] = []

    def chunk_read(self, chunk: SourceChunk) -> None:
        """Count a chunk once, however often it is read."""
        if chunk.first_row in self._read:
            return
        self._read[chunk.first_row] = (chunk.row_count, len(chunk.rejects))
        if chunk.rejects:
            self._rejects.write(self._opened.path, chunk)
            room = _EXAMPLES - len(self.examples)
            self.examples += [
                f"line {reject.line}"
                + (f", column {reject.column}" if reject.column else "")
                + f": {reject.reason}"
                for reject in chunk.rejects[:room]
            ]

    def chunk_dead(self, lease: Lease) -> None:
        """Remember a chunk that is among the dead letters."""
        self.dead = lease

    def fill(self, report: Report, progress: Progress) -> None:
        """Bring the report up to date."""
        report.rows_read = sum(rows for rows, _ in self._read.values())
        report.rows_rejected = sum(rejects for _, rejects in self._read.values())
        settled = progress.landed_rows - self._start.landed_rows
        ours = min(settled, report.rows_read)  # another ingest of the file may run beside this one
        report.rows_landed = max(0, ours - report.rows_rejected)
        report.first_rejects = self.examples
        report.rejected_before = self._start.rejected_rows
        landed_before = self._start.landed_rows - self._start.rejected_rows
        report.duplicates_dropped = landed_before + settled - ours
        report.complete = progress.complete


async def ingest_file(
    process: Process,
    path: Path,
    rejects_path: Path,
    show: Callable[[Report], None],
    *,
    append: bool = False,
) -> Report:
    """Ingest one file, calling ``show`` with the growing report.

    The rejects file is begun anew, unless ``append`` is set or the stream was begun before.

    Returns when every row has landed, or been rejected, or the process was told to stop. Raises
    SourceError for a file that cannot be read, DeadChunk for rows that can never land.
    """
    began = time.monotonic()
    settings = dataclasses.replace(process.settings.streamer, csv=path, loop=False)
    opened = await asyncio.to_thread(open_source, settings, process.settings.common.data_dir)
    streams = Streams(process.database, opened.stream_id, process.owner)
    start = await streams.register(opened.fingerprint, str(opened.path), looping=False)
    report = Report(str(path), opened.stream_id)
    rejects = Rejects(rejects_path, append=append or start.next_row > 0)
    await asyncio.to_thread(rejects.check)
    job = Job(opened, start, rejects)
    try:
        async with QueueClient(process.broker_url) as client:
            streamer = Streamer(settings, client, streams, opened.source, job)
            task = asyncio.ensure_future(streamer.run(process.stopping))
            await _watch(task, process, streams, job, report, show)
    finally:
        report.rejects_file = rejects.close()
    job.fill(report, await streams.progress())
    report.seconds = time.monotonic() - began
    return report


async def _watch(
    task: asyncio.Future[None],
    process: Process,
    streams: Streams,
    job: Job,
    report: Report,
    show: Callable[[Report], None],
) -> None:
    began = time.monotonic()
    try:
        while not task.done() and not await _done_or_stopped(task, process):
            if job.dead:
                first, last = job.dead.first_row + 2, job.dead.first_row + job.dead.row_count + 1
                raise DeadChunk(
                    f"{report.file}: lines {first} to {last} cannot land: the broker holds them as "
                    f"a dead letter, whose reason GET /dead-letters tells"
                )
            try:
                job.fill(report, await streams.progress())
            except StoreUnavailable:
                continue
            report.seconds = time.monotonic() - began
            show(report)
        _, late = await asyncio.wait((task,), timeout=process.remaining_s())
        if not late:
            task.result()
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _done_or_stopped(task: asyncio.Future[None], process: Process) -> bool:
    await asyncio.wait((task,), timeout=_POLL_S)
    return task.done() or await pause(0, process.stopping)
