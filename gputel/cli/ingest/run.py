"""An ingest of several files: the roles that it needs, one file after the other, its exit code."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from gputel.cli.ingest.inputs import Input
from gputel.cli.ingest.report import DeadChunk, Report, shown, summary
from gputel.cli.terminal import echo, print_notice
from gputel.config.settings import Settings
from gputel.errors import OutputFailed, ReaderGone, SourceError
from gputel.runtime import running

EXIT_FAILED, EXIT_REJECTS, EXIT_STOPPED = 1, 3, 130
_MODULES = ("gputel.cli.ingest.job", "pyarrow.compute")


def roles_for(settings: Settings) -> list[str]:
    """The roles that an ingest runs in its process."""
    return ["store"] if settings.common.broker_url else ["store", "broker", "collector"]


async def ingest_all(
    inputs: Sequence[Input], rejects: Path | None, shape: str, settings: Settings, *, failed: bool
) -> int:
    """Ingest one input after the other and report on each; returns the exit code.

    An input that cannot be read or landed does not stop the others. ``failed``: others were left
    out already.
    """
    reports: list[Report] = []
    several = len(inputs) > 1
    written: set[Path] = set()  # rejects files: two files of one name share theirs
    began = time.monotonic()
    async with running(roles_for(settings), settings, _MODULES) as (process, services):
        from gputel.cli.ingest.job import ingest_input

        for source in inputs:
            path = rejects or source.rejects_path
            append = path in written
            try:
                report = await ingest_input(process, services, source, path, append=append)
            except (SourceError, DeadChunk) as error:
                failed = True
                if not process.stopping.is_set():
                    print_notice(error.message)
            else:
                reports.append(report)
                written |= {path} if report.rejects_file else set()
                tell(shown(report, shape, alone=not several))
                failed |= _report_damage(report)
            if process.stopping.is_set():
                break
        stopped = process.stopping.is_set()
    if several:
        echo(summary(reports, len(inputs), time.monotonic() - began, shape))
    complete = len(reports) == len(inputs) and all(report.complete for report in reports)
    if stopped and not complete:
        return EXIT_STOPPED
    return EXIT_FAILED if failed else exit_code(reports)


def tell(report: str) -> None:
    """Print a report. Output that cannot be written stops no ingest: it shows in the exit code."""
    try:
        echo(report)
    except ReaderGone:
        pass
    except OutputFailed as error:
        print_notice(error.message)


def _report_damage(report: Report) -> bool:
    if report.damage:
        print_notice(
            f"{report.file}: {report.damage}: the rows before that have landed; get a "
            "complete copy of the file and ingest it"
        )
    return bool(report.damage)


def exit_code(reports: Sequence[Report]) -> int:
    """0, or EXIT_REJECTS if some rows were rejected."""
    rejected = any(report.rows_rejected or report.rejected_before for report in reports)
    return EXIT_REJECTS if rejected else 0
