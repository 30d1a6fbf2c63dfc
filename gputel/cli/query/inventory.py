"""``gputel query gpus|hosts|metrics``: lists of what has telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from gputel.cli.ask import table
from gputel.cli.ask.table import Column
from gputel.cli.query import options
from gputel.cli.query.ask import Query
from gputel.cli.terminal import echo
from gputel.model.names import GPU_COLUMNS

NONE_MATCHES = "no GPU matches: leave a filter out; `gputel query gpus` lists all GPUs"
NOTHING_LANDED = (
    "no telemetry has landed yet: `gputel ingest FILE` or `gputel run` brings some; "
    "`gputel query targets` shows how scrapes go"
)

_NO_FILTERS: Mapping[str, Any] = MappingProxyType({})
_GPUS = (table.UUID, table.HOSTNAME, table.GPU_ID, table.MODEL, *table.others(GPU_COLUMNS),
         table.LAST_SEEN)  # fmt: skip
_HOSTS = (
    Column("hostname", "hostname", unbroken=True),
    Column("gpus", "GPUs", right=True),
    Column("models", "models", shared=True),
    table.LAST_SEEN,
)
_METRICS = (
    Column("metric_name", "metric"),
    Column("unit", "unit"),
    Column("series", "series", right=True),
    Column("samples", "samples", right=True),
    Column("min", "min", right=True),
    Column("max", "max", right=True),
    table.LAST_SEEN,
)


@click.command("gpus")
@options.gpu_filters()
@options.seen_since("GPUs")
@options.common()
def gpus_command(api_url: str, format_: str | None, **parameters: Any) -> None:
    """List the GPUs that have telemetry."""
    query = Query(api_url, ("gpus",), parameters)
    query.print(format_, lambda rows: _print_list(rows, _GPUS, "GPU", parameters))


@click.command("hosts")
@options.gpu_filters()
@options.seen_since("hosts of GPUs")
@options.common()
def hosts_command(api_url: str, format_: str | None, **parameters: Any) -> None:
    """List the hosts that GPUs were last seen on; the filters select these GPUs."""
    query = Query(api_url, ("hosts",), parameters)
    query.print(format_, lambda rows: _print_list(rows, _HOSTS, "host", parameters))


@click.command("metrics")
@options.common()
def metrics_command(api_url: str, format_: str | None) -> None:
    """List the metrics and how much each has; min and max are of the last 7 days."""
    query = Query(api_url, ("metrics",), {})
    query.print(format_, lambda rows: _print_list(rows, _METRICS, "metric"))


def _print_list(
    rows: list[dict[str, Any]],
    columns: tuple[Column, ...],
    noun: str,
    parameters: Mapping[str, Any] = _NO_FILTERS,
) -> None:
    if not rows:
        filtered = any(parameters.values())
        echo(NONE_MATCHES if filtered else NOTHING_LANDED)
        return
    table.write_table(rows, columns)
    echo(f"\n{len(rows)} {noun}{'s' if len(rows) != 1 else ''}")
