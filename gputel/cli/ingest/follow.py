"""``gputel ingest --follow``: files that grow, until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gputel.backoff import pause
from gputel.cli.ingest.inputs import Input
from gputel.cli.ingest.report import DeadChunk, Report, shown
from gputel.cli.ingest.run import EXIT_FAILED, exit_code, roles_for, tell
from gputel.cli.terminal import print_notice
from gputel.config.settings import Settings
from gputel.errors import SourceError
from gputel.runtime import running

if TYPE_CHECKING:
    from gputel.roles.process import Process, Services
    from gputel.sources.dcgm.growing import GrowingCsv

_MODULES = ("gputel.cli.ingest.job", "gputel.streamer.following", "pyarrow.compute")
_LOOK_S = 0.2


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

    ended: set[str] = set()
    waiting = False
    while not process.stopping.is_set():
        csv = await asyncio.to_thread(_open, process, source.path)
        stream_id = csv and (process.settings.streamer.stream_id or csv.stream_id)
        if csv is None or stream_id in ended:
            if csv is None and not waiting:
                waiting = True
                print_notice(f"waiting for rows in {source.name}")
            await pause(_LOOK_S, process.stopping)
            continue
        report = await ingest_csv(
            process, services, source, csv, rejects, lambda _: None,
            append=bool(ended), streamer=FollowingStreamer,
        )  # fmt: skip
        waiting = False
        ended.add(report.stream_id)
        reports.append(report)
        tell(shown(report, shape, alone=True, followed=True))


def _open(process: Process, path: Path) -> GrowingCsv | None:
    from gputel.sources.dcgm.growing import open_growing

    settings = process.settings
    keep = settings.collector.keep_impossible
    return open_growing(path, settings.streamer.timestamps, keep_impossible=keep)
