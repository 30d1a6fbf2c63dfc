"""``gputel query gpus|hosts|metrics``: what there is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from gputel.cli.ask import table
from gputel.cli.ask.table import Column
from gputel.cli.query import options
from gputel.cli.query.ask import Question
from gputel.cli.terminal import say
from gputel.model.names import GPU_COLUMNS

NONE_MATCHES = "no GPU matches: leave a filter out; `gputel query gpus` lists all GPUs"
NOTHING_LANDED = "no telemetry has landed yet: `gputel ingest FILE` or `gputel run` brings some"

_NO_FILTERS: Mapping[str, Any] = MappingProxyType({})
_GPUS = (table.UUID, table.HOSTNAME, table.GPU_ID, table.MODEL, *table.others(GPU_COLUMNS),
         table.LAST_SEEN)  # fmt: skip
_HOSTS = (
    Column("hostname", "hostname", whole=True),
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
@options.seen_since("Only GPUs with a record of this time or later: 15m, now-1h, or RFC 3339.")
@options.common()
def gpus_command(api_url: str, format_: str | None, **wanted: Any) -> None:
    """List the GPUs that have telemetry."""
    question = Question(api_url, ("gpus",), wanted)
    question.print(format_, lambda rows: _listed(rows, _GPUS, "GPU", wanted))


@click.command("hosts")
@options.gpu_filters()
@options.seen_since("Only hosts of GPUs with a record of this time or later: 15m, or RFC 3339.")
@options.common()
def hosts_command(api_url: str, format_: str | None, **wanted: Any) -> None:
    """List the hosts that GPUs were last seen on; filters are of these GPUs."""
    question = Question(api_url, ("hosts",), wanted)
    question.print(format_, lambda rows: _listed(rows, _HOSTS, "host", wanted))


@click.command("metrics")
@options.common()
def metrics_command(api_url: str, format_: str | None) -> None:
    """List the metrics, and what is kept of each; min and max are of the last 7 days."""
    question = Question(api_url, ("metrics",), {})
    question.print(format_, lambda rows: _listed(rows, _METRICS, "metric"))


def _listed(
    rows: list[dict[str, Any]],
    columns: tuple[Column, ...],
    noun: str,
    wanted: Mapping[str, Any] = _NO_FILTERS,
) -> None:
    if not rows:
        filtered = any(wanted.values())
        say(NONE_MATCHES if filtered else NOTHING_LANDED)
        return
    table.write_table(rows, columns)
    say(f"\n{len(rows)} {noun}{'s' if len(rows) != 1 else ''}")
