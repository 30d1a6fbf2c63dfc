"""The progress of an export, for people who wait for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gputel.cli.terminal import console
from gputel.printable import printable


@contextmanager
def progress(name: str) -> Iterator[Callable[[int], None]]:
    """A function that takes the size of each piece in bytes; shows a line on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import (
        FileSizeColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        FileSizeColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task(printable(name), total=None)
        yield lambda count: bars.advance(bar, count)
