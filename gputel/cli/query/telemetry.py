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
from gputel.cli.query.ask import Query
from gputel.cli.query.uuid import complete_uuid
from gputel.cli.terminal import echo
from gputel.errors import UsageError
from gputel.model.entities import is_target
from gputel.model.names import GPU_FILTER_COLUMNS, PARSED_COLUMNS, SHOWN_COLUMNS
from gputel.model.raw_labels import parsed_labels

TABLE_ROWS = 50
"""Records in a table when no limit is given."""

_OTHERS = table.others(SHOWN_COLUMNS)
_RECORDS = (table.TIME, table.METRIC, table.VALUE, table.UUID, table.HOSTNAME, table.GPU_ID,
            table.MODEL, *_OTHERS)  # fmt: skip
_INSTANCE = tuple(table.LABELS[column.name] for column in PARSED_COLUMNS)
_LATEST = (table.UUID, table.METRIC, table.HOSTNAME, table.VALUE, table.AGE, table.MODEL,
           *_OTHERS)  # fmt: skip
_OF_MANY_GPUS = (*(column.parameter for column in GPU_FILTER_COLUMNS), "group_by")


@click.command("telemetry")
@click.argument("gpu", metavar="[UUID]", required=False, shell_complete=query_completion.uuids)
@options.records()
@options.limit(f"Only the first N records. Default: {TABLE_ROWS} in a table, else all.")
@options.common()
def telemetry_command(
    gpu: str | None, limit: int | None, api_url: str, format_: str | None, **parameters: Any
) -> None:
    """Show the telemetry of the GPU called UUID, or of all GPUs that the filters select.

    The beginning of a uuid is enough if no other uuid begins with it.
    """
    path: tuple[str, ...] = ("telemetry",)
    shape = query_output.chosen(format_)
    if gpu is not None:
        parameters = _of_one_gpu(parameters)
        path = ("gpus", complete_uuid(api_url, gpu), "telemetry")
    if shape == "table":
        # One more than a table shows by default: then it can say that there are more.
        most = limit or TABLE_ROWS + 1
        records = Query(api_url, path, {**parameters, "limit": most}).rows(most)
        _show_records(records, limit, parameters)
        return
    with Query(api_url, path, {**parameters, "limit": limit}).answer(shape) as pieces:
        query_output.copy(pieces, sys.stdout.buffer, shape)


def _of_one_gpu(parameters: Mapping[str, Any]) -> dict[str, Any]:
    for name in _OF_MANY_GPUS:
        if parameters[name]:
            raise UsageError(
                f"{options.flags()[name]}: is for many GPUs; leave UUID out (--uuid takes all that "
                "begin alike)"
            )
    return {name: value for name, value in parameters.items() if name not in _OF_MANY_GPUS}


def _show_records(
    records: list[dict[str, Any]], limit: int | None, parameters: Mapping[str, Any]
) -> None:
    if not records:
        echo("no records: widen --since and --until, or leave out a filter")
        return
    shown = [
        parsed_labels(row.get("labels_raw") or "") | row for row in records[: limit or TABLE_ROWS]
    ]
    columns: tuple[Column, ...] = _RECORDS
    if len({row.get("uuid") for row in shown}) > 1:
        # Host and index identify a GPU as well, and need less room.
        columns = tuple(column for column in _RECORDS if column is not table.UUID)
    elif not parameters.get("group_by"):
        columns = tuple(column for column in _RECORDS if column is not table.GPU_ID)
    table.write_table(shown, columns)
    which = "oldest" if parameters["order"] == "asc" else "newest"
    echo(f"\nthe {len(shown)} {which} record{'s' if len(shown) != 1 else ''}", nl=False)
    if len(records) > len(shown):
        echo("; --limit N shows more, --format csv or json shows all", nl=False)
    echo()


@click.command("latest")
@options.metric_filter()
@options.gpu_filters()
@options.instance_filters()
@options.seen_since("series")
@options.common()
def latest_command(api_url: str, format_: str | None, **parameters: Any) -> None:
    """Show the newest record of each series, of all GPUs or those that the filters select."""
    Query(api_url, ("telemetry", "latest"), parameters).print(format_, _show_latest)


def _show_latest(records: list[dict[str, Any]]) -> None:
    if not records:
        echo("no records: leave out a filter or --seen-since")
        return
    uuids = {record["uuid"] for record in records}
    gpus = sum(not is_target(uuid) for uuid in uuids)
    one_metric = len({record["metric_name"] for record in records}) == 1
    if one_metric or len(uuids) == 1:
        table.write_table(records, _LATEST)
    else:
        instance = [each for each in _INSTANCE if any(record[each.field] for record in records)]
        table.write_sections(
            records,
            "uuid",
            table.METRIC,
            (table.VALUE, table.AGE, *instance, table.HOSTNAME),
        )
    of_gpus = f" of {_number(gpus, 'GPU')}" if gpus else ""
    echo(f"\n{_number(len(records), 'record')}{of_gpus}")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
