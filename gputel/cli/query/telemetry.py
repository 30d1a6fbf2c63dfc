"""``gputel query telemetry|latest``: records."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from gputel.cli.ask import table
from gputel.cli.ask.table import Column
from gputel.cli.query import completion as query_completion
from gputel.cli.query import options
from gputel.cli.query import output as query_output
from gputel.cli.query.ask import Question
from gputel.cli.query.uuid import whole_uuid
from gputel.cli.terminal import say
from gputel.errors import UsageError
from gputel.model.names import GPU_FILTER_COLUMNS, SHOWN_COLUMNS

TABLE_ROWS = 50
"""Records in a table when no limit is given."""

_OTHERS = table.others(SHOWN_COLUMNS)
_RECORDS = (table.TIME, table.METRIC, table.VALUE, table.UUID, table.HOSTNAME, table.GPU_ID,
            table.MODEL, *_OTHERS)  # fmt: skip
_LATEST = (table.UUID, table.METRIC, table.HOSTNAME, table.VALUE, table.AGE, table.MODEL,
           *_OTHERS)  # fmt: skip
_FLAGS = {column.parameter: f"--{column.title}" for column in GPU_FILTER_COLUMNS}
_FLAGS |= {"group_by": "--group-by"}


@click.command("telemetry")
@click.argument("gpu", metavar="[UUID]", required=False, shell_complete=query_completion.uuids)
@options.records()
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Only the first N records. Default: {TABLE_ROWS} in a table, else all.",
)
@options.common()
def telemetry_command(
    gpu: str | None, limit: int | None, api_url: str, format_: str | None, **wanted: Any
) -> None:
    """Show the telemetry of the GPU called UUID, or of all that the filters leave.

    The beginning of a uuid is enough where no other GPU's begins like it.
    """
    path: tuple[str, ...] = ("telemetry",)
    shape = query_output.chosen(format_)
    if gpu is not None:
        wanted = _of_one_gpu(wanted)
        path = ("gpus", whole_uuid(api_url, gpu), "telemetry")
    if shape == "table":
        # One more than a table shows by default tells whether there is more.
        asked = limit or TABLE_ROWS + 1
        found = Question(api_url, path, {**wanted, "limit": asked}).rows(asked)
        _show_records(found, limit, wanted)
        return
    with Question(api_url, path, {**wanted, "limit": limit}).answer(shape) as pieces:
        query_output.copy(pieces, sys.stdout.buffer, shape)


def _of_one_gpu(wanted: Mapping[str, Any]) -> dict[str, Any]:
    for name, flag in _FLAGS.items():
        if wanted[name]:
            raise UsageError(
                f"{flag}: is for many GPUs; leave UUID out (--uuid takes all that begin alike)"
            )
    return {name: value for name, value in wanted.items() if name not in _FLAGS}


def _show_records(
    found: list[dict[str, Any]], limit: int | None, wanted: Mapping[str, Any]
) -> None:
    if not found:
        say("no records: widen --since and --until, or leave out a filter")
        return
    shown = found[: limit or TABLE_ROWS]
    columns: tuple[Column, ...] = _RECORDS
    if len({row.get("uuid") for row in shown}) > 1:
        # The host and its index name a GPU as well, and leave room for the rest.
        columns = tuple(column for column in _RECORDS if column is not table.UUID)
    elif not wanted.get("group_by"):
        columns = tuple(column for column in _RECORDS if column is not table.GPU_ID)
    table.write_table(shown, columns)
    which = "oldest" if wanted["order"] == "asc" else "newest"
    say(f"\nthe {len(shown)} {which} record{'s' if len(shown) != 1 else ''}", nl=False)
    if len(found) > len(shown):
        say("; --limit N shows more, --format csv or json all of them", nl=False)
    say()


@click.command("latest")
@options.metric_filter()
@options.gpu_filters()
@options.seen_since("Only series with a record of this time or later: 15m, now-1h, or RFC 3339.")
@options.common()
def latest_command(api_url: str, format_: str | None, **wanted: Any) -> None:
    """Show the newest record of each series, of all GPUs or of those that the filters leave."""
    Question(api_url, ("telemetry", "latest"), wanted).print(format_, _show_latest)


def _show_latest(found: list[dict[str, Any]]) -> None:
    if not found:
        say("no records: leave out a filter or --seen-since")
        return
    gpus = len({row["uuid"] for row in found})
    one_metric = len({row["metric_name"] for row in found}) == 1
    if one_metric or gpus == 1:
        table.write_table(found, _LATEST)
    else:
        table.write_sections(found, "uuid", table.METRIC, (table.VALUE, table.AGE, table.HOSTNAME))
    say(f"\n{len(found)} records of {gpus} GPU{'s' if gpus != 1 else ''}")
