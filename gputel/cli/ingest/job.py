"""The ingest of one file: a streamer without a loop, watched until its last row has landed."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from gputel.backoff import pause
from gputel.cli.ingest.inputs import Input, open_input
from gputel.cli.ingest.rejects import Rejects
from gputel.cli.ingest.report import DeadChunk, Report, progress
from gputel.cli.terminal import print_notice
from gputel.errors import StoreUnavailable
from gputel.roles.process import Process, Services
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.growing import GrowingCsv
from gputel.store.write.streams import ChunkLease, Progress, Streams
from gputel.streamer.growing_files import first_row_of
from gputel.streamer.open_source import csv_options
from gputel.streamer.publisher import ReadChunk
from gputel.streamer.streamer import Streamer

_POLL_S = 0.1
_EXAMPLES = 5  # rejects that the report itself shows
_CHUNKS_KNOWN = 8192  # a chunk that is read again is one of the latest


class IngestObserver:
    """Observes a streamer: counts its rows, writes its rejects, notes a chunk that cannot land."""

    def __init__(
        self, name: str, start: Progress, rejects: Rejects, rows_per_line: int = 1
    ) -> None:
        self._name = name
        self._rows_per_line = rows_per_line
        self._start = start
        self._rejects = rejects
        self._seen: set[int] = set()  # the first rows of chunks
        self._lines_read = self._rows_rejected = self._lines_skipped = 0
        self.dead_lines: tuple[int, int] | None = None  # the first and the last
        self.examples: list[str] = []

    def chunk_read(self, chunk: ReadChunk) -> None:
        """Count a chunk, but only the first time that it is read."""
        if chunk.first_row in self._seen:
            return
        if len(self._seen) >= _CHUNKS_KNOWN:
            self._seen = set(sorted(self._seen)[_CHUNKS_KNOWN // 2 :])
        self._seen.add(chunk.first_row)
        self._lines_read += chunk.row_count
        self._lines_skipped += chunk.skipped
        self._rows_rejected += len(chunk.rejects)
        if chunk.rejects:
            self._rejects.write(self._name, chunk)
            room = _EXAMPLES - len(self.examples)
            self.examples += [
                f"line {reject.line}"
                + (f", column {reject.column}" if reject.column else "")
                + f": {reject.reason}"
                for reject in chunk.rejects[:room]
            ]

    def chunk_dead(self, lease: ChunkLease) -> None:
        """Note a chunk that is among the dead letters."""
        ends = (lease.first_row, lease.first_row + lease.row_count - 1)
        first, last = (row // self._rows_per_line + 2 for row in ends)
        self.dead_lines = first, last

    def fill(self, report: Report, progress: Progress) -> None:
        """Update the report."""
        rejected = progress.rejected_rows - self._start.rejected_rows
        report.rejected_for_time = max(0, rejected - self._rows_rejected)
        report.rows_read = self._lines_read - self._lines_skipped
        report.lines_skipped = self._lines_skipped
        report.rows_rejected = self._rows_rejected + report.rejected_for_time
        settled = progress.landed_rows - self._start.landed_rows
        ours = min(settled, self._lines_read)  # another ingest of the file may run beside this one
        report.rows_already_there = progress.repeated_rows - self._start.repeated_rows
        others = report.rows_rejected + report.rows_already_there + report.lines_skipped
        report.rows_landed = max(0, ours - others)
        report.first_rejects = self.examples
        report.rejected_before = self._start.rejected_rows
        report.samples_deleted = self._start.deleted_samples
        skipped_elsewhere = max(0, progress.skipped_lines - self._lines_skipped)
        settled_elsewhere = self._start.landed_rows - self._start.rejected_rows + settled - ours
        report.duplicates_dropped = max(0, settled_elsewhere - skipped_elsewhere)
        report.complete = progress.complete


async def ingest_input(
    process: Process, services: Services, source: Input, rejects_path: Path, *, append: bool = False
) -> Report:
    """Ingest one file or pipe; see ``ingest_csv``."""
    keep = process.settings.collector.keep_impossible
    options = csv_options(process.settings.streamer, keep_impossible=keep)
    async with open_input(source, process.stopping) as file:
        csv = await asyncio.to_thread(CsvFile, file, options)
        with progress(file.path.name, csv.count_rows) as show:
            return await ingest_csv(
                process, services, source, csv, rejects_path, show, append=append
            )


async def ingest_csv(
    process: Process,
    services: Services,
    source: Input,
    csv: CsvFile,
    rejects_path: Path,
    show: Callable[[Report], None],
    *,
    append: bool = False,
    streamer: Callable[..., Streamer] = Streamer,
) -> Report:
    """Ingest the open CSV of an input; ``show`` gets the growing report again and again.

    The rejects file is emptied first, unless ``append`` is set or an earlier run began the stream.

    Returns when every row has landed or was rejected, or when the process stops. Raises SourceError
    for a file that cannot be read, DeadChunk for rows that can never land.
    """
    began = time.monotonic()
    settings = dataclasses.replace(process.settings.streamer, loop=False)
    stream_id = settings.stream_id or csv.stream_id
    streams = Streams(services.database, stream_id, process.owner)
    start = await streams.register(
        csv.fingerprint,
        source.stream_source,
        looping=False,
        first_row=await _first_row(streams, source, csv),
    )
    report = Report(source.name, stream_id, rows_per_line=csv.rows_per_line)
    for note in csv.notes:
        print_notice(f"{source.name}: {note}")
    rejects = Rejects(rejects_path, append=append or start.next_row > 0)
    await asyncio.to_thread(rejects.check)
    observer = IngestObserver(source.stream_source, start, rejects, csv.rows_per_line)
    try:
        async with services.broker.client() as client:
            task = asyncio.ensure_future(
                streamer(settings, client, streams, csv, observer).run(process.stopping)
            )
            await _watch(task, process, streams, observer, report, show)
    finally:
        report.rejects_file = rejects.close()
    observer.fill(report, await streams.progress())
    report.damage = csv.damage
    report.seconds = time.monotonic() - began
    return report


async def _first_row(streams: Streams, source: Input, csv: CsvFile) -> int:
    if not isinstance(csv, GrowingCsv):
        return 0
    return await first_row_of(streams, source.stream_source, csv)


async def _watch(
    task: asyncio.Future[None],
    process: Process,
    streams: Streams,
    observer: IngestObserver,
    report: Report,
    show: Callable[[Report], None],
) -> None:
    began = time.monotonic()
    try:
        while not task.done() and not await _done_or_stopped(task, process):
            if observer.dead_lines:
                first, last = observer.dead_lines
                raise DeadChunk(
                    f"{report.file}: lines {first} to {last} cannot land: they are a dead letter "
                    "of the broker; GET /dead-letters shows the reason"
                )
            try:
                observer.fill(report, await streams.progress())
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
