"""``gputel query``: questions to the API, answered as a table, JSON or CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import click

from gputel.cli import api_client, query_output
from gputel.cli.moments import Moment
from gputel.errors import ApiError
from gputel.model.names import CSV_NAMES

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_API_URL = "http://127.0.0.1:8080"
TABLE_ROWS = 50
"""Records in a table when no limit is given."""

_GPU_TABLE = {"uuid": "uuid", "device": "device", "modelName": "model", "hostname": "hostname"}
_GPU_TABLE |= {"last_seen": "last seen"}
_GPU_COLUMNS = {
    name: name
    for name in ("uuid", "device", "modelName", "hostname", "gpu_id", "first_seen", "last_seen")
}
# A DCGM CSV's own names, so that what is written here can be ingested again.
_RECORD_COLUMNS = {
    "modelName" if ours == "model_name" else ours: csv for ours, csv in CSV_NAMES.items()
}
_RECORD_TABLE = {
    name: name
    for name in ("timestamp", "metric_name", "value", "hostname", "namespace", "pod", "container")
}


def _common(command: Command) -> Command:
    command = click.option(
        "--format",
        "format_",
        type=click.Choice(query_output.FORMATS),
        help="Shape of the answer. Default: table on a terminal, json otherwise.",
    )(command)
    return click.option(
        "--api-url",
        envvar="GPUTEL_API_URL",
        default=DEFAULT_API_URL,
        metavar="URL",
        show_default=True,
        help="Address of the API.",
    )(command)


@click.group()
def query() -> None:
    """Ask the API for GPUs and their telemetry."""


@query.command("gpus")
@_common
def gpus_command(api_url: str, format_: str | None) -> None:
    """List the GPUs that have telemetry."""
    shape = query_output.chosen(format_)
    with api_client.get(api_url, ("api", "v1", "gpus"), {}) as pieces:
        if shape == "json":
            query_output.write_json(pieces)
        elif shape == "csv":
            query_output.write_csv(api_client.objects(pieces), _GPU_COLUMNS)
        else:
            _show_gpus(list(api_client.objects(pieces)))


def _show_gpus(found: list[dict[str, Any]]) -> None:
    if not found:
        click.echo("no telemetry has landed yet: `gputel ingest FILE` or `gputel run` brings some")
        return
    for gpu in found:
        gpu["last_seen"] = gpu["last_seen"][:19] + "Z"  # whole seconds are enough for people
    query_output.write_table(found, _GPU_TABLE)
    click.echo(f"\n{len(found)} GPU{'s' if len(found) != 1 else ''}")


@query.command("telemetry")
@click.argument("uuid")
@click.option("--metric", metavar="NAME", help="Only this metric.")
@click.option(
    "--since",
    type=Moment(),
    help="Oldest time: 15m, 1h, 7d ago, or 2025-07-18T20:42:34Z; UTC where no zone is given.",
)
@click.option("--until", type=Moment(end=True), help="Newest time, likewise.")
@click.option(
    "--step", metavar="SPAN", help="One record for each span of time: 30s, 5m, 1h or 1d long."
)
@click.option(
    "--agg",
    metavar="NAME",
    help="Its value: avg (the default), min, max, last, sum, count, p50, p95, p99 or rate.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Only the N newest records. Default: {TABLE_ROWS} in a table, else all.",
)
@_common
def telemetry_command(
    uuid: str,
    metric: str | None,
    since: str | None,
    until: str | None,
    step: str | None,
    agg: str | None,
    limit: int | None,
    api_url: str,
    format_: str | None,
) -> None:
    """Show the telemetry of the GPU called UUID, newest first."""
    shape = query_output.chosen(format_)
    # One more than a table shows by default tells whether there is more.
    asked = limit or (TABLE_ROWS + 1 if shape == "table" else None)
    wanted = {"start_time": since, "end_time": until, "metric": metric, "limit": asked}
    wanted |= {"step": step, "agg": agg}
    path = ("api", "v1", "gpus", uuid, "telemetry")
    with _in_flags(), api_client.get(api_url, path, wanted) as pieces:
        if shape == "json":
            query_output.write_json(pieces)
        elif shape == "csv":
            query_output.write_csv(api_client.objects(pieces), _RECORD_COLUMNS)
        else:
            _show_records(list(islice(api_client.objects(pieces), asked)), limit)


@contextmanager
def _in_flags() -> Iterator[None]:
    """Have what the API says of its parameters said of the flags that they came from."""
    try:
        yield
    except ApiError as error:
        message = re.sub(r"(^|; )(metric|step|agg|limit): ", r"\1--\2: ", error.message)
        message = message.replace("step=", "--step ")
        message = message.replace("start_time", "--since").replace("end_time", "--until")
        raise ApiError(message) from None


def _show_records(found: list[dict[str, Any]], limit: int | None) -> None:
    if not found:
        click.echo("no records: widen --since and --until, or leave out --metric")
        return
    shown = found[: limit or TABLE_ROWS]
    query_output.write_table(shown, _RECORD_TABLE)
    click.echo(f"\nthe {len(shown)} newest record{'s' if len(shown) != 1 else ''}", nl=False)
    if len(found) > len(shown):
        click.echo("; --limit N shows more, --format csv or json all of them", nl=False)
    click.echo()
