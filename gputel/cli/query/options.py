"""The options that the commands of ``gputel query`` share.

Each has the name of the API's parameter, so that a command sends its arguments as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from gputel.api.formats.format import Format
from gputel.cli.ask.api import default_api_url
from gputel.cli.moments import TimeType
from gputel.cli.query import completion as complete
from gputel.model.names import GPU_FILTER_COLUMNS, GROUP_COLUMNS, PARSED_COLUMNS, RecordColumn

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

API_FORMATS = tuple(each.value for each in Format)
FORMATS = ("table", *API_FORMATS)
BINARY = tuple(each.value for each in Format if not each.is_text)
AGGREGATES = ("avg", "min", "max", "last", "sum", "count", "p50", "p95", "p99", "rate",
              "sum_over_time")  # fmt: skip

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
        help="URL of the API.  [default: this machine, port GPUTEL_API_PORT or 8080]",
    )


def format_(help_: str, formats: Sequence[str] = FORMATS) -> Decorator:
    """``--format``."""
    return click.option("--format", "format_", type=click.Choice(formats), help=help_)


def common(formats: Sequence[str] = FORMATS) -> Decorator:
    """``--api-url`` and ``--format``."""
    shape = "Format of the answer. Default: table on a terminal, json otherwise."
    return _all(api_url(), format_(shape, formats))


def limit(help_: str) -> Decorator:
    """``--limit``."""
    return click.option("--limit", type=click.IntRange(min=1), metavar="N", help=help_)


def _texts(
    flag: str, name: str, help_: str, completer: Callable[..., list[str]] | None = None
) -> Decorator:
    return click.option(
        flag, name, multiple=True, metavar="TEXT", help=help_, shell_complete=completer
    )


def gpu_filters() -> Decorator:
    """Filters of GPUs by their labels."""
    return _filters(GPU_FILTER_COLUMNS)


def instance_filters() -> Decorator:
    """Filters of series by the MIG instance that they are of."""
    return _filters(PARSED_COLUMNS)


def _filters(columns: Iterable[RecordColumn]) -> Decorator:
    return _all(
        *(
            _texts(
                f"--{column.title}",
                column.parameter,
                f"{column.filter}; repeated: any of them.",
                _COMPLETERS.get(column.name),
            )
            for column in columns
        )
    )


def metric_filter() -> Decorator:
    """``--metric``."""
    help_ = "Only this metric; * is any text, ? is one character; repeat it for several."
    return _texts("--metric", "metric", help_, complete.metrics)


def seen_since(noun: str) -> Decorator:
    """``--seen-since``."""
    help_ = f"Only {noun} with a record of this time or later: 15m, now-1h, or RFC 3339."
    return click.option("--seen-since", "seen_since", type=TimeType(), help=help_)


def time_range() -> Decorator:
    """``--since`` and ``--until``."""
    since = "Oldest time: 15m, 1h or 7d ago, now-2h, or 2025-07-18T20:42:34Z; UTC without a zone."
    return _all(
        click.option("--since", "start_time", type=TimeType(), help=since),
        click.option(
            "--until",
            "end_time",
            type=TimeType(end=True),
            help="Newest time, written in the same way.",
        ),
    )


def aggregate(help_: str, names: Sequence[str] = AGGREGATES) -> Decorator:
    """``--agg``."""
    return click.option("--agg", type=click.Choice(names), help=help_)


def order(help_: str) -> Decorator:
    """``--order``."""
    return click.option("--order", type=click.Choice(("asc", "desc")), help=help_)


def records() -> Decorator:
    """Which records, in which order, and whether one by one or one for each step."""
    return _all(
        metric_filter(),
        gpu_filters(),
        instance_filters(),
        time_range(),
        click.option(
            "--step", metavar="SPAN", help="One record for each span of time: 30s, 5m, 1h or 1d."
        ),
        aggregate("How the records of a span make its value. Default: avg."),
        click.option(
            "--fill",
            type=click.Choice(("null",)),
            help="Also a record, without a value, for each span without records.",
        ),
        click.option(
            "--group-by",
            "group_by",
            multiple=True,
            metavar="LABEL",
            help=f"One record for each span and {_GROUPS} or metric; "
            "repeat it, or use commas, for several.",
        ),
        order("Newest (desc) or oldest (asc) first. Default: desc."),
    )


def flags() -> dict[str, str]:
    """The flag, or the name of the argument, of each parameter of the command that runs."""
    parameters = click.get_current_context().command.params
    return {
        str(each.name): each.opts[0] if isinstance(each, click.Option) else str(each.name)
        for each in parameters
    }
