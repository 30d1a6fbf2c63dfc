"""Answers of the API on standard output: as they came, as CSV, or as a table for people."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

FORMATS = ("table", "json", "csv")
_PIPE_WIDTH = 200
_ROWS_PER_WRITE = 1000
_WHOLE = {"uuid", "timestamp", "last_seen"}  # people copy these: never broken


def chosen(format_: str | None) -> str:
    """The format asked for; by default a table on a terminal and JSON elsewhere."""
    return format_ or ("table" if sys.stdout.isatty() else "json")


def write_json(pieces: Iterable[bytes]) -> None:
    """The answer as it came, byte for byte, ending in a newline."""
    out, last = sys.stdout.buffer, b""
    for piece in pieces:
        out.write(piece)
        last = piece[-1:]
    if last != b"\n":
        out.write(b"\n")
    out.flush()


def write_csv(objects: Iterator[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """One line an object; ``columns`` says which fields, and what the header calls them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns.values())
    for count, found in enumerate(objects, 1):
        writer.writerow([cell(found[name]) for name in columns])
        if count % _ROWS_PER_WRITE == 0:
            _flush(buffer)
    _flush(buffer)


def _flush(buffer: io.StringIO) -> None:
    sys.stdout.buffer.write(buffer.getvalue().encode())
    sys.stdout.buffer.flush()
    buffer.seek(0)
    buffer.truncate()


def write_table(objects: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """A table of the fields that ``columns`` names, but for those that are empty everywhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [name for name in columns if any(cell(found[name]) for found in objects)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        table.add_column(
            columns[name],
            justify="right" if name == "value" else "left",
            overflow="fold",
            no_wrap=name in _WHOLE,
        )
    for found in objects:
        table.add_row(*(Text(cell(found[name])) for name in shown))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(table)


def cell(value: object) -> str:
    """A value as text: whole numbers without a fraction, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    return str(value)
