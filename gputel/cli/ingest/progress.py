"""A progress bar for people who watch an ingest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gputel.cli.ingest.report import Report
from gputel.cli.terminal import console
from gputel.errors import SourceError
from gputel.printable import printable


@contextmanager
def progress(
    path: Path, name: str, descriptor: int | None = None
) -> Iterator[Callable[[Report], None]]:
    """Shows the growing report of a file: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            """Rows landed, and how fast."""
            speed = task.finished_speed or task.speed or 0
            text = f"{task.completed:,.0f} rows  {speed:,.0f} rows/s"
            return Text(text, style="progress.download")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task(printable(name), total=_total_rows(path, descriptor))
        yield lambda report: bars.update(
            bar, completed=report.rows_landed + report.rows_rejected + report.duplicates_dropped
        )


def _total_rows(path: Path, descriptor: int | None) -> int | None:
    """All rows of the file; None for one that cannot be read, which the ingest will report."""
    from gputel.sources.dcgm.file import DcgmCsv

    try:
        return DcgmCsv.open(path, "source", descriptor=descriptor).count_rows()
    except SourceError:
        return None
