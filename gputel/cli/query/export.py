"""``gputel query export``: all selected records, to a file or to standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from gputel.cli.query import options
from gputel.cli.query import output as query_output
from gputel.cli.query.ask import Query
from gputel.cli.query.export_file import complete_file
from gputel.cli.query.export_progress import progress
from gputel.cli.terminal import echo
from gputel.errors import UsageError
from gputel.printable import printable

_ENDINGS = " ".join(f".{name}" for name in options.API_FORMATS)


@click.command("export")
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@options.records()
@options.limit("Only the first N records.")
@options.api_url()
@options.format_(f"Default: by the ending of FILE, {_ENDINGS}; else json.", options.API_FORMATS)
def export_command(file: str | None, api_url: str, format_: str | None, **parameters: Any) -> None:
    """Write all selected records to FILE, or to standard output if FILE is - or left out.

    FILE appears, or is replaced, only when it is complete.
    """
    query = Query(api_url, ("telemetry",), parameters)
    if file is None or file == "-":
        shape = _format_of_output(format_, dash=file is not None)
        with query.answer(shape) as pieces:
            query_output.copy(pieces, sys.stdout.buffer, shape)
        return
    shape = _format_of(file, format_)
    with (
        query.answer(shape) as pieces,
        progress(file) as count,
        complete_file(Path(file)) as out,
    ):
        query_output.copy(_counted(pieces, count), out, shape)
    echo(f"{printable(file)} is complete", err=True)


def _counted(pieces: Iterator[bytes], count: Callable[[int], None]) -> Iterator[bytes]:
    for piece in pieces:
        count(len(piece))
        yield piece


def _format_of_output(format_: str | None, *, dash: bool) -> str:
    """The format of --format, else JSON.

    Raises UsageError if a terminal cannot show it, and for a terminal unless FILE is a ``dash``.
    """
    terminal = sys.stdout.isatty()
    shape = query_output.chosen(format_ or "json", terminal)
    if terminal and not dash:
        raise UsageError(
            "FILE: all records would fill this terminal: name a file, such as fleet.parquet, or "
            "use a pipe (| head), or - to see them here"
        )
    return shape


def _format_of(file: str, format_: str | None) -> str:
    """The format of --format, else of the file's ending; raises UsageError for another ending."""
    shape = format_ or Path(file).suffix[1:].lower()
    if shape not in options.API_FORMATS:
        raise UsageError(
            f"{file}: its ending is not a format; use one of {_ENDINGS}, or give --format"
        )
    return shape
