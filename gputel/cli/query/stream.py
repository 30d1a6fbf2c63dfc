"""``gputel query stream``: records as they land."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TextIO

import click

from gputel.api.formats.shape import RECORD
from gputel.cli.ask import table
from gputel.cli.ask.events import Events
from gputel.cli.query import options
from gputel.cli.query.ask import in_flags
from gputel.cli.query.safe_csv import is_requested, safe_cells
from gputel.cli.terminal import print_notice, printable_csv, terminal_bytes
from gputel.printable import printable

FORMATS = ("table", "ndjson", "csv")

_METRIC_WIDTH, _VALUE_WIDTH, _GPU_WIDTH = 32, 12, 24
_LINE_WIDTH = 133  # with a uuid


@click.command("stream")
@options.metric_filter()
@options.gpu_filters()
@options.instance_filters()
@options.limit("End after N records. Default: never.")
@options.api_url()
@options.format_("Format of the records. Default: table on a terminal, ndjson otherwise.", FORMATS)
def stream_command(api_url: str, format_: str | None, limit: int | None, **filters: Any) -> None:
    """Follow records as they land, of all GPUs or those that the filters select; Ctrl-C ends it.

    If the connection is lost, it connects again and goes on with the next record.
    """
    shape = format_ or ("table" if sys.stdout.isatty() else "ndjson")
    with in_flags():
        records = _records(Events(api_url, ("api", "v1", "stream"), filters))
        _WRITERS[shape](islice(records, limit))


def _records(events: Events) -> Iterator[bytes]:
    for event in events:
        if event.name == "message":
            yield event.data
        elif event.name == "lag":
            dropped = json.loads(event.data)["dropped"]
            _warn(f"this was too slow for {dropped} records, which are left out")
        elif event.name == "gap":
            _warn("some records are missing here: `gputel query telemetry` has them")


def _warn(message: str) -> None:
    sys.stdout.flush()
    print_notice(message)


def _ndjson(records: Iterator[bytes]) -> None:
    out = sys.stdout.buffer
    for line in terminal_bytes((record + b"\n" for record in records), out, "ndjson"):
        out.write(line)
        out.flush()


class _Escaping:
    """A terminal that gets escapes for characters that are not printable."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, line: str) -> int:
        """Write a line."""
        return self._terminal.write(printable_csv(line))


def _csv(records: Iterator[bytes]) -> None:
    """The columns of a DCGM export."""
    writer = csv.writer(_Escaping(sys.stdout) if sys.stdout.isatty() else sys.stdout)
    writer.writerow(RECORD.csv_header)
    for record in map(json.loads, records):
        cells = [record[name] for name in RECORD.names]
        writer.writerow(safe_cells(cells) if is_requested() else cells)
        sys.stdout.flush()


def _table(records: Iterator[bytes]) -> None:
    """A line for each record, with fixed columns; a narrow terminal gets no uuid."""
    from rich.text import Text

    console = table.console()
    has_room = console.width >= _LINE_WIDTH
    for record in map(json.loads, records):
        name, host = printable(record["metric_name"]), printable(record["hostname"])
        line = Text.assemble(
            (table.second(record["timestamp"]), "dim"),
            f"  {name:<{_METRIC_WIDTH}}",
            (f"  {table.cell(record['value']):>{_VALUE_WIDTH}}", "bold"),
            f"  {host}/{printable(str(record['gpu_id']))}".ljust(_GPU_WIDTH),
            (f"  {printable(record['uuid'])}" if has_room else "", "cyan"),
        )
        console.print(line, soft_wrap=True)


_WRITERS: dict[str, Callable[[Iterator[bytes]], None]] = {
    "table": _table,
    "ndjson": _ndjson,
    "csv": _csv,
}
