"""All that the commands show to people: no character from outside acts on the terminal.

Tables and progress bars go through ``console``, lines through ``say`` and ``tell``, bytes of the
API through ``shown_bytes``. Files and pipes get machine formats byte for byte.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from gputel.api.formats.format import Format
from gputel.masking import mask
from gputel.printable import json_text, printable, printable_json, printable_lines

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print on standard output, or on standard error; the lines of the text stay lines."""
    click.echo(printable_lines(text), nl=nl, err=err)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value on standard output in JSON."""
    click.echo(json_text(value, indent=indent))


def tell(message: str) -> None:
    """Print one line on standard error, without secrets."""
    click.echo(f"gputel: {printable(mask(message))}", err=True)


def console(*, width: int | None = None, stderr: bool = False) -> Console:
    """A console that takes no text for markup, and lets no control character through."""
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
            """What rich makes of a renderable; its own control codes stay."""
            for segment in super().render(*arguments, **options):
                if segment.control:
                    yield segment
                else:
                    yield Segment(printable_lines(segment.text), segment.style)

    return PrintableConsole(width=width, stderr=stderr, highlight=False, markup=False, emoji=False)


def shown_bytes(pieces: Iterable[bytes], out: BinaryIO, format_: str) -> Iterable[bytes]:
    """The pieces of a text format as ``out`` gets them: exact, unless it is a terminal.

    A terminal gets JSON that means the same, and CSV with escapes for what is not printable.
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
    """A text in CSV with escapes for what is not printable; its line ends, CR and LF, stay."""
    return "\r\n".join(map(printable_lines, text.split("\r\n")))


def use_escapes_where_an_encoding_ends() -> None:
    """Have a standard output of a small encoding get escapes, as standard error does."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
