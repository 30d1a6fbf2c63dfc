"""Options that the commands of ``gputel query`` share.

The name of each in the program is that of the API's parameter, so that what a command is given is
what it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from gputel.api.formats.format import Format
from gputel.cli.ask.api import default_api_url
from gputel.cli.moments import Moment
from gputel.cli.query import completion as complete
from gputel.model.names import GPU_FILTER_COLUMNS, GROUP_COLUMNS

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

API_FORMATS = tuple(each.value for each in Format)
FORMATS = ("table", *API_FORMATS)
BINARY = tuple(each.value for each in Format if not each.is_text)
AGGREGATES = ("avg", "min", "max", "last", "sum", "count", "p50", "p95", "p99", "rate")

_COMPLETERS = {
    "hostname": complete.hostnames,
    "model_name": complete.models,
    "uuid": complete.uuids,
}
_GROUPS = ", ".join(column.api for column in GROUP_COLUMNS)


def _all(*options: Decorator) -> Decorator:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def api_url() -> Decorator:
    """``--api-url``."""
    return click.option(
        "--api-url",
        envvar="GPUTEL_API_URL",
        default=default_api_url,
        metavar="URL",
        help="Address of the API.  [default: this machine's, on GPUTEL_API_PORT or 8080]",
    )


def common(formats: Sequence[str] = FORMATS) -> Decorator:
    """``--api-url`` and ``--format``."""
    return _all(
        api_url(),
        click.option(
            "--format",
            "format_",
            type=click.Choice(formats),
            help="Shape of the answer. Default: table on a terminal, json otherwise.",
        ),
    )


def _texts(
    flag: str, name: str, what: str, completer: Callable[..., list[str]] | None = None
) -> Decorator:
    return click.option(
        flag, name, multiple=True, metavar="TEXT", help=what, shell_complete=completer
    )


def gpu_filters() -> Decorator:
    """Which GPUs, by their labels."""
    return _all(
        *(
            _texts(
                f"--{column.title}",
                column.parameter,
                f"{column.filter}; repeated: any of them.",
                _COMPLETERS.get(column.name),
            )
            for column in GPU_FILTER_COLUMNS
        )
    )


def metric_filter() -> Decorator:
    """``--metric``."""
    what = "Only this metric; * is any text, ? one character; repeated: any of them."
    return _texts("--metric", "metric", what, complete.metrics)


def seen_since(what: str) -> Decorator:
    """``--seen-since``."""
    return click.option("--seen-since", "seen_since", type=Moment(), help=what)


def time_range() -> Decorator:
    """``--since`` and ``--until``."""
    since = "Oldest time: 15m, 1h, 7d ago, now-2h, or 2025-07-18T20:42:34Z; UTC without a zone."
    return _all(
        click.option("--since", "start_time", type=Moment(), help=since),
        click.option("--until", "end_time", type=Moment(end=True), help="Newest time, likewise."),
    )


def aggregate(what: str, names: Sequence[str] = AGGREGATES) -> Decorator:
    """``--agg``."""
    return click.option("--agg", type=click.Choice(names), help=what)


def order(what: str) -> Decorator:
    """``--order``."""
    return click.option("--order", type=click.Choice(("asc", "desc")), help=what)


def records() -> Decorator:
    """Which records, in which order, and whether as they are or by step."""
    return _all(
        metric_filter(),
        gpu_filters(),
        time_range(),
        click.option(
            "--step", metavar="SPAN", help="One record for each span of time: 30s, 5m, 1h or 1d."
        ),
        aggregate("Its value, of the records in a span. Default: avg."),
        click.option(
            "--fill",
            type=click.Choice(("null",)),
            help="A record without a value for each span without records.",
        ),
        click.option(
            "--group-by",
            "group_by",
            multiple=True,
            metavar="LABEL",
            help=f"One record a span for all GPUs of a {_GROUPS} or metric; repeated, or with "
            "commas between.",
        ),
        order("Newest (desc) or oldest (asc) first. Default: desc."),
    )
