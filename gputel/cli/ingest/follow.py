"""``gputel ingest --follow``: files that grow, until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gputel.cli.ingest.inputs import Input
from gputel.cli.ingest.report import DeadChunk, Report, shown
from gputel.cli.ingest.run import EXIT_FAILED, exit_code, roles_for, tell
from gputel.cli.terminal import print_notice
from gputel.config.settings import Settings
from gputel.errors import SourceError
from gputel.runtime import running

if TYPE_CHECKING:
    from gputel.roles.process import Process, Services

_MODULES = ("gputel.cli.ingest.job", "gputel.streamer.growing_files", "pyarrow.compute")


async def follow_all(
    inputs: Sequence[Input], rejects: Path | None, shape: str, settings: Settings, *, failed: bool
) -> int:
    """Follow files side by side until a signal comes; returns the exit code.

    If one file can no longer be followed, the others still are.
    """
    reports: list[Report] = []

    async def follow(process: Process, services: Services, source: Input) -> None:
        nonlocal failed
        try:
            path = rejects or source.rejects_path
            await _follow(process, services, source, path, shape, reports)
        except (SourceError, DeadChunk) as error:
            print_notice(error.message)
            failed = True

    async with running(roles_for(settings), settings, _MODULES) as (process, services):
        await asyncio.gather(*(follow(process, services, source) for source in inputs))
    return EXIT_FAILED if failed else exit_code(reports)


async def _follow(
    process: Process,
    services: Services,
    source: Input,
    rejects: Path,
    shape: str,
    reports: list[Report],
) -> None:
    """Follow one name: the file that has it, then the next that gets it; report on each."""
    from gputel.cli.ingest.job import ingest_csv
    from gputel.streamer.following import FollowingStreamer
    from gputel.streamer.growing_files import growing_files
    from gputel.streamer.open_source import csv_options

    settings, append = process.settings, False
    async for csv in growing_files(
        source.path,
        csv_options(settings.streamer, keep_impossible=settings.collector.keep_impossible),
        settings.streamer.stream_id,
        process.stopping,
        lambda: print_notice(f"waiting for rows in {source.name}"),
    ):
        report = await ingest_csv(
            process, services, source, csv, rejects, lambda _: None,
            append=append, streamer=FollowingStreamer,
        )  # fmt: skip
        append = True
        reports.append(report)
        tell(shown(report, shape, alone=True, followed=True))
