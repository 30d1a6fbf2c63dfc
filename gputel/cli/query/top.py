"""``gputel query top METRIC``: the GPUs or hosts with the largest values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from gputel.cli.ask import table
from gputel.cli.ask.table import Column
from gputel.cli.query import completion as query_completion
from gputel.cli.query import options
from gputel.cli.query.ask import Query
from gputel.cli.terminal import echo

_COLUMNS = (
    table.METRIC,
    Column("rank", "rank", right=True, style="dim"),
    Column("uuid", "uuid", unbroken=True, style="cyan"),
    table.HOSTNAME,
    table.VALUE,
    table.MODEL,
)


@click.command("top")
@click.argument("metric", metavar="METRIC", shell_complete=query_completion.metrics)
@click.option("--by", type=click.Choice(("gpu", "host")), help="What to rank. Default: gpu.")
@click.option("--n", "n", type=click.IntRange(1, 1000), help="How many. Default: 10.")
@options.aggregate(
    "How the records of the time make the value to compare. Default: avg.",
    [name for name in options.AGGREGATES if name != "last"],
)
@options.order("Largest (desc) or smallest (asc) first. Default: desc.")
@options.time_range()
@options.gpu_filters()
@options.instance_filters()
@options.common()
def top_command(api_url: str, format_: str | None, **parameters: Any) -> None:
    """Rank GPUs or hosts by METRIC, in the last hour unless --since says otherwise."""
    query = Query(api_url, ("telemetry", "top"), parameters)
    query.print(format_, lambda rows: _show(rows, parameters))


def _show(rows: list[dict[str, Any]], parameters: Mapping[str, Any]) -> None:
    given = parameters["start_time"] or parameters["end_time"]
    if rows:
        table.write_table(rows, _COLUMNS)
        time = "the time asked for" if given else "the last hour"
        echo(f"\nvalue: {parameters['agg'] or 'avg'} of {time}")
    elif given:
        echo("no records in this time: widen --since and --until, or leave out a filter")
    else:
        echo(
            "no records in the last hour: --since 7d looks further back; "
            "`gputel query metrics` shows when each metric was last seen"
        )
