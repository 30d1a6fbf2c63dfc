"""Tables for people; a value that is the same in all rows is shown once above them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gputel import times
from gputel.cli import terminal
from gputel.model import names
from gputel.model.names import SHOWN_COLUMNS
from gputel.printable import printable
from gputel.units import age

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 200
_STALE_S = 300.0

Row = Mapping[str, Any]


def cell(value: object) -> str:
    """A value as text: a number with about six digits, null as nothing."""
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    return f"{value:.1f}" if 1e5 <= abs(value) < 2**53 else f"{value:.6g}"


def second(time: object) -> str:
    """A time of the API to the second, UTC, as ``--since`` takes it."""
    return str(time)[:19]


def ago(time: str) -> str:
    """How long ago a time of the API was."""
    return age(_age_s(time))


def _age_s(time: str) -> float:
    return (datetime.now(UTC) - times.parse(time)).total_seconds()


def age_style(seconds: float) -> str:
    """Yellow after five minutes without a record, else dim."""
    return "yellow" if seconds >= _STALE_S else "dim"


@dataclass(frozen=True)
class Column:
    """A field of the rows, and how to show it."""

    field: str
    title: str
    show: Callable[[Any], str] = cell
    right: bool = False
    unbroken: bool = False  # never wrapped: people copy it
    shared: bool = False  # shown above the table if it is the same in all rows
    style: str | Callable[[Any], str] = ""


LABELS = {each.name: Column(each.api, each.title, shared=True) for each in SHOWN_COLUMNS}
LABELS[names.UUID] = replace(LABELS[names.UUID], unbroken=True, style="cyan")
UUID, METRIC = LABELS[names.UUID], LABELS[names.METRIC]
HOSTNAME, MODEL, GPU_ID = (LABELS[name] for name in ("hostname", "model_name", "gpu_id"))
_ARRANGED = (names.METRIC, names.UUID, "hostname", "model_name", "gpu_id", "device")
VALUE = Column("value", "value", right=True, style="bold")
TIME = Column("timestamp", "time (UTC)", second, unbroken=True)
AGE = Column("age_s", "age", age, right=True, unbroken=True, style=age_style)
LAST_SEEN = Column(
    "last_seen", "last seen", ago, right=True, unbroken=True, style=lambda t: age_style(_age_s(t))
)


def others(labels: Iterable[names.RecordColumn]) -> tuple[Column, ...]:
    """The columns of these labels, without those that a table puts at a position of its own."""
    return tuple(LABELS[label.name] for label in labels if label.name not in _ARRANGED)


def write_table(rows: Sequence[Row], columns: Iterable[Column]) -> None:
    """Print the rows, without the columns that are empty in all of them.

    Only a terminal gets colours, and not if NO_COLOR is set.
    """
    from rich.text import Text

    filled = [column for column in columns if any(_text(column, row) for row in rows)]
    shared = [
        column
        for column in filled
        if column.shared and len({_text(column, row) for row in rows}) == 1
    ]
    shown = [column for column in filled if column not in shared]
    screen = console()
    if shared:
        line = Text()
        for column in shared:
            part = Text.assemble((f"{column.title} ", "dim"), (_text(column, rows[0]), "bold"))
            if line and line.cell_len + 2 + part.cell_len > screen.width:
                screen.print(line, soft_wrap=True)
                line = Text()
            line.append("  " if line else "").append_text(part)
        screen.print(line, soft_wrap=True)
    if not shown:
        return
    table = plain_table()
    for column in shown:
        add_column(table, column.title, rows, column)
    for row in rows:
        table.add_row(*(Text(_text(column, row), _style(column, row)) for column in shown))
    print_unwrapped(screen, table)


def write_sections(rows: Sequence[Row], key: str, name: Column, columns: Sequence[Column]) -> None:
    """Print rows that are ordered by ``key``: a line for each key, and its rows below it.

    The last of ``columns`` is the same in all rows of a key, and is shown in the key's line.
    """
    from rich.text import Text

    *values, beside = columns
    table, last = plain_table(), None
    widest = max((len(printable(str(row[key]))) for row in rows), default=0)
    table.add_column(f"{key} / {name.title}", no_wrap=True, min_width=widest)
    for column in columns:
        add_column(table, column.title, rows, column)
    for row in rows:
        if row[key] != last:
            last = row[key]
            blanks = [""] * len(values)
            table.add_row(Text(printable(str(last)), "cyan"), *blanks, Text(_text(beside, row)))
        texts = (Text(_text(column, row), _style(column, row)) for column in values)
        table.add_row(Text(f"  {_text(name, row)}"), *texts, "")
    print_unwrapped(console(), table)


def _text(column: Column, row: Row) -> str:
    value = row.get(column.field)
    return "" if value is None else printable(column.show(value))


def _style(column: Column, row: Row) -> str:
    value = row.get(column.field)
    if callable(column.style):
        return "" if value is None else column.style(value)
    return column.style


def console() -> Console:
    """Standard output; wide if it is not a terminal."""
    return terminal.console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def plain_table() -> Table:
    """A table without lines."""
    from rich.table import Table

    return Table(box=None, pad_edge=False, header_style="bold")


def add_column(table: Table, title: str, rows: Sequence[Row], column: Column) -> None:
    """Add a column; an unbroken one is as wide as its widest text."""
    width = max((len(_text(column, row)) for row in rows), default=0) if column.unbroken else None
    table.add_column(
        title,
        justify="right" if column.right else "left",
        overflow="fold",
        no_wrap=column.unbroken,
        min_width=width,
    )


def print_unwrapped(screen: Console, table: Table) -> None:
    """Print the table; one that is wider than the terminal is left to the terminal to wrap."""
    least = screen.measure(table).minimum
    if least > screen.width:
        screen.width = least
    screen.print(table, crop=False, no_wrap=True)
