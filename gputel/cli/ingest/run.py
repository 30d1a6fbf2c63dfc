"""An ingest as a whole: the roles that it needs, its files one after the other, its exit code."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gputel.cli.ingest.inputs import Input, spooled
from gputel.cli.ingest.progress import progress
from gputel.cli.ingest.report import DeadChunk, Report, shown, summary
from gputel.cli.terminal import say, tell
from gputel.config.settings import Settings
from gputel.errors import SourceError
from gputel.runtime import running

if TYPE_CHECKING:
    from gputel.roles.process import Process

EXIT_FAILED, EXIT_REJECTS, EXIT_STOPPED = 1, 3, 130
_MODULES = ("gputel.cli.ingest.job", "pyarrow.compute")


def roles_for(settings: Settings) -> list[str]:
    """What an ingest runs beside itself."""
    return ["store"] if settings.common.broker_url else ["store", "broker", "collector"]


async def ingest_all(
    inputs: Sequence[Input], rejects: Path | None, shape: str, settings: Settings, *, failed: bool
) -> int:
    """Ingest one input after the other, telling of each; returns the exit code.

    One that cannot be read or landed does not keep the others from it. ``failed`` tells that some
    were left out already.
    """
    reports: list[Report] = []
    several = len(inputs) > 1
    begun: set[Path] = set()  # rejects files: two files of one name share theirs
    began = time.monotonic()
    async with running(roles_for(settings), settings, _MODULES) as process:
        for source in inputs:
            place = rejects or source.rejects_path
            try:
                report = await _ingest(process, source, place, append=place in begun)
            except (SourceError, DeadChunk) as error:
                failed = True
                if not process.stopping.is_set():
                    tell(error.message)
            else:
                reports.append(report)
                begun |= {place} if report.rejects_file else set()
                say(shown(report, shape, alone=not several))
                failed |= _tell_damage(report)
            if process.stopping.is_set():
                break
        stopped = process.stopping.is_set()
    if several:
        say(summary(reports, len(inputs), time.monotonic() - began, shape))
    complete = len(reports) == len(inputs) and all(report.complete for report in reports)
    if stopped and not complete:
        return EXIT_STOPPED
    return EXIT_FAILED if failed else exit_code(reports)


def _tell_damage(report: Report) -> bool:
    if report.damage:
        tell(
            f"{report.file}: {report.damage}: what comes before that has landed; get the file anew "
            "and ingest it whole"
        )
    return bool(report.damage)


async def _ingest(process: Process, source: Input, rejects: Path, *, append: bool) -> Report:
    from gputel.cli.ingest.job import ingest_file

    async with _on_disk(source, process) as spool:
        path = Path(source.name)
        with progress(path, path.name, spool) as show:
            return await ingest_file(
                process, path, source.name, rejects, show, append=append, descriptor=spool
            )


@asynccontextmanager
async def _on_disk(source: Input, process: Process) -> AsyncIterator[int | None]:
    if not source.piped:
        yield None
        return
    stopping = threading.Event()
    watcher = asyncio.ensure_future(process.stopping.wait())
    watcher.add_done_callback(lambda _: stopping.set())
    spool = spooled(source, stopping)
    try:
        descriptor = await asyncio.to_thread(spool.__enter__)
        try:
            yield descriptor
        finally:
            await asyncio.to_thread(spool.__exit__, None, None, None)
    finally:
        watcher.cancel()


def exit_code(reports: Sequence[Report]) -> int:
    """0, or what tells that some rows were rejected."""
    rejected = any(report.rows_rejected or report.rejected_before for report in reports)
    return EXIT_REJECTS if rejected else 0
