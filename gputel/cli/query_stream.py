"""``gputel query stream``: records as they land."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import click

from gputel.api.formats.shape import RECORD
from gputel.cli import query_options as options
from gputel.cli import query_table as table
from gputel.cli.event_client import Events
from gputel.cli.query_ask import in_flags

FORMATS = ("table", "ndjson", "csv")

_WIDE_METRIC, _WIDE_VALUE, _WIDE_PLACE = 32, 12, 24
_WIDE_LINE = 133


@click.command("stream")
@options.metric_filter()
@options.gpu_filters()
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="End after N records. Default: never."
)
@options.api_url()
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Shape of the records. Default: table on a terminal, ndjson otherwise.",
)
def stream_command(api_url: str, format_: str | None, limit: int | None, **wanted: Any) -> None:
    """Follow records as they land, of all GPUs or of those that the filters leave; Ctrl-C ends it.

    A connection that is lost is made again, and goes on where it was.
    """
    shape = format_ or ("table" if sys.stdout.isatty() else "ndjson")
    with in_flags():
        records = _records(Events(api_url, ("api", "v1", "stream"), wanted))
        try:
            _WRITERS[shape](islice(records, limit))
        except BrokenPipeError:  # as of `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    click.echo(f"gputel: {message}", err=True)


def _ndjson(records: Iterator[bytes]) -> None:
    out = sys.stdout.buffer
    for record in records:
        out.write(record + b"\n")
        out.flush()


def _csv(records: Iterator[bytes]) -> None:
    """The columns of a DCGM export."""
    writer = csv.writer(sys.stdout)
    writer.writerow(RECORD.csv_header)
    for record in map(json.loads, records):
        writer.writerow(record[name] for name in RECORD.names)
        sys.stdout.flush()


def _table(records: Iterator[bytes]) -> None:
    """A line a record, its columns as wide as most need; a narrow terminal gets no uuid."""
    from rich.text import Text

    console = table.console()
    has_room = console.width >= _WIDE_LINE
    for record in map(json.loads, records):
        line = Text.assemble(
            (table.second(record["timestamp"]), "dim"),
            f"  {record['metric_name']:<{_WIDE_METRIC}}",
            (f"  {table.cell(record['value']):>{_WIDE_VALUE}}", "bold"),
            f"  {record['hostname']}/{record['gpu_id']}".ljust(_WIDE_PLACE),
            (f"  {record['uuid']}" if has_room else "", "cyan"),
        )
        console.print(line, soft_wrap=True)


_WRITERS: dict[str, Callable[[Iterator[bytes]], None]] = {
    "table": _table,
    "ndjson": _ndjson,
    "csv": _csv,
}
