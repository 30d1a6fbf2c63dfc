"""All output of the commands for people: no character from outside acts on the terminal.

Tables and progress bars use ``console``, lines ``echo`` and ``print_notice``, bytes of the API
``terminal_bytes``. Files and pipes get machine formats byte for byte.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from gputel.api.formats.format import Format
from gputel.masking import mask
from gputel.printable import json_text, printable, printable_json, printable_lines

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text of one or more lines on standard output, or on standard error (``err``)."""
    click.echo(printable_lines(text), nl=nl, err=err)


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON on standard output."""
    click.echo(json_text(value, indent=indent))


def print_notice(message: str) -> None:
    """Print one line about the command itself on standard error, without secrets."""
    click.echo(f"gputel: {printable(mask(message))}", err=True)


def console(*, width: int | None = None, stderr: bool = False) -> Console:
    """A console without markup in texts, and without control characters from them."""
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
            """Escape the texts; rich's own control codes stay."""
            for segment in super().render(*arguments, **options):
                if segment.control:
                    yield segment
                else:
                    yield Segment(printable_lines(segment.text), segment.style)

    return PrintableConsole(width=width, stderr=stderr, highlight=False, markup=False, emoji=False)


def terminal_bytes(pieces: Iterable[bytes], out: BinaryIO, format_: str) -> Iterable[bytes]:
    """The pieces of a text format for ``out``: unchanged, unless it is a terminal.

    A terminal gets equivalent JSON, and CSV with escapes for characters that are not printable.
    """
    if not Format(format_).is_text or not out.isatty():
        return pieces
    return _escaped(pieces, is_json=format_ != "csv")


def _escaped(pieces: Iterable[bytes], *, is_json: bool) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for piece in pieces:
        text = decoder.decode(piece)
        yield (printable_json(text) if is_json else printable_csv(text)).encode()
    yield printable_csv(decoder.decode(b"", final=True)).encode()


def printable_csv(text: str) -> str:
    """A text in CSV with escapes for characters that are not printable; line ends stay."""
    return "\r\n".join(map(printable_lines, text.split("\r\n")))
