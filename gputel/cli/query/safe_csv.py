"""CSV that is safe in a spreadsheet: it runs no cell as a formula.

A spreadsheet takes a cell that begins with ``= + - @``, a tab or a carriage return for a formula,
which may start programs or send the sheet elsewhere. Such a cell gets an apostrophe in front;
numbers do not change.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

import click

_FORMULA = re.compile(r"[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|nan)")
_META = "gputel.csv_safe"


def csv_safe_option() -> click.Option:
    """``--csv-safe``; ``is_requested`` returns its value."""

    def note(context: click.Context, _option: click.Parameter, value: bool) -> None:
        context.meta[_META] = value

    return click.Option(
        ["--csv-safe"],
        is_flag=True,
        expose_value=False,
        callback=note,
        help="In CSV, put ' before each cell that a spreadsheet would run as a formula.",
    )


def is_requested() -> bool:
    """Whether the command that runs has ``--csv-safe``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_META))


def safe_cells(cells: Iterable[object]) -> list[object]:
    """The cells of a row, with an apostrophe before each that would be a formula."""
    return [f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell for cell in cells]


def _is_formula(cell: str) -> bool:
    return _FORMULA.match(cell) is not None and not _NUMBER.fullmatch(cell)


def safe_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The rows of a CSV that comes in pieces, each as soon as it is complete."""
    for row in csv.reader(_lines(pieces)):
        yield _row(safe_cells(row))


def _row(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # its own line end makes it quote a CR as well as an LF
    return text.getvalue().removesuffix("\r\n").encode() + b"\n"


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + decoder.decode(piece)).split("\n")
        for line in lines:
            yield line + "\n"
    if rest:
        yield rest
