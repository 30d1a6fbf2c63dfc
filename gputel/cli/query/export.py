"""``gputel query export``: all records selected, into a file or to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gputel.cli.query import options
from gputel.cli.query import output as query_output
from gputel.cli.query.ask import Question
from gputel.cli.query.export_file import whole_file
from gputel.cli.query.export_progress import progress
from gputel.cli.terminal import say
from gputel.errors import UsageError
from gputel.printable import printable

_ENDINGS = " ".join(f".{name}" for name in options.API_FORMATS)


@click.command("export")
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@options.records()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records.")
@options.api_url()
@click.option(
    "--format",
    "format_",
    type=click.Choice(options.API_FORMATS),
    help=f"Default: what the end of FILE says, {_ENDINGS}; else json.",
)
def export_command(file: str | None, api_url: str, format_: str | None, **wanted: Any) -> None:
    """Write all records that are selected to FILE; to standard output for -, and in a pipe.

    FILE is there once it is whole: until then a file beside it is written.
    """
    question = Question(api_url, ("telemetry",), wanted)
    if file is None or file == "-":
        shape = _format_of_output(format_, asked=file is not None)
        with question.answer(shape) as pieces:
            query_output.copy(pieces, sys.stdout.buffer, shape)
        return
    shape = _format_of(file, format_)
    with (
        question.answer(shape) as pieces,
        progress(file) as seen,
        whole_file(Path(file)) as out,
    ):
        query_output.copy(_told(pieces, seen), out, shape)
    say(f"{printable(file)} is written", err=True)


def _told(pieces: Iterator[bytes], seen: Any) -> Iterator[bytes]:
    for piece in pieces:
        seen(len(piece))
        yield piece


def _format_of_output(format_: str | None, *, asked: bool) -> str:
    """The format asked for, else JSON.

    Raises UsageError for what a terminal cannot show, and where a terminal was not ``asked`` for.
    """
    terminal = sys.stdout.isatty()
    shape = query_output.chosen(format_ or "json", terminal)
    if terminal and not asked:
        raise UsageError(
            "FILE: all records would fill this terminal; name a file, such as fleet.parquet, or "
            "pipe them (| head), or give - to see them here"
        )
    return shape


def _format_of(file: str, format_: str | None) -> str:
    """The format asked for, else that of the file's name; raises UsageError where it has none."""
    found = format_ or Path(file).suffix[1:].lower()
    if found not in options.API_FORMATS:
        raise UsageError(
            f"{file}: its name does not say the format; end it in one of "
            f"{_ENDINGS}, or give --format"
        )
    return found
