"""``gputel query gpu UUID``: one GPU, its newest values, and its last hour as sparklines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import click

from gputel import times
from gputel.cli.ask import api as api_client
from gputel.cli.ask import table
from gputel.cli.ask.sparkline import sparkline
from gputel.cli.ask.table import Column
from gputel.cli.query import completion as query_completion
from gputel.cli.query import options
from gputel.cli.query import output as query_output
from gputel.cli.query.ask import Query, in_flags
from gputel.cli.query.uuid import complete_uuid
from gputel.model.names import PARSED_COLUMNS
from gputel.model.raw_labels import parsed_labels
from gputel.printable import printable

_POINTS = 20
_STEP_S = 180
_HOUR_S = _POINTS * _STEP_S

_COLUMNS = (
    Column("metric_name", "metric"),
    *(table.LABELS[column.name] for column in PARSED_COLUMNS),
    table.VALUE,
    Column("unit", "unit", style="dim"),
    table.AGE,
    Column("hour", "its last hour", unbroken=True, style="green"),
)


@click.command("gpu")
@click.argument("uuid", shell_complete=query_completion.uuids)
@options.common(("table", "json"))
def gpu_command(uuid: str, api_url: str, format_: str | None) -> None:
    """Show the GPU called UUID: its labels, and the newest value of each of its metrics.

    The beginning of a uuid is enough if no other uuid begins with it.
    """
    shape = query_output.chosen(format_)
    uuid = complete_uuid(api_url, uuid)
    with in_flags(), api_client.get(api_url, ("api", "v1", "gpus", uuid), {}) as pieces:
        if shape == "json":
            query_output.copy(pieces, sys.stdout.buffer, shape)
            return
        gpu = json.loads(b"".join(pieces))
    end = times.parse(gpu["last_seen"])
    start = end - timedelta(seconds=_HOUR_S)
    parameters = {
        "start_time": start.isoformat(),
        "end_time": end.isoformat(),
        "step": f"{_STEP_S}s",
    }
    hour = Query(api_url, ("gpus", uuid, "telemetry"), parameters).rows()
    _show(gpu, sparklines(hour, start.timestamp(), end.timestamp()))


def _show(gpu: Mapping[str, Any], lines: Mapping[tuple[str, str], str]) -> None:
    from rich.text import Text

    screen = table.console()
    about = {
        "uuid": gpu["uuid"],
        "model": gpu["modelName"],
        "hostname": gpu["hostname"] + _place(gpu),
        "last seen": f"{table.second(gpu['last_seen'])} UTC  ({table.ago(gpu['last_seen'])})",
        "first seen": f"{table.second(gpu['first_seen'])} UTC",
        "labels": _labels(gpu),
    }
    for name, text in about.items():
        if text:
            styled = Text.assemble(
                (f"{name:<11}", "dim"), (printable(text), "cyan" if name == "uuid" else "")
            )
            screen.print(styled, soft_wrap=True)
    screen.print()
    rows = [
        {**each, "hour": lines.get((each["metric_name"], each["GPU_I_ID"]), "")}
        for each in gpu["metrics"]
    ]
    table.write_table(rows, _COLUMNS)


def _place(gpu: Mapping[str, Any]) -> str:
    """The index and the device of the GPU on its host, of which a source may lack both."""
    index = f"gpu {gpu['gpu_id']}" if gpu["gpu_id"] else ""
    known = ", ".join(filter(None, (index, gpu["device"])))
    return f"  ({known})" if known else ""


def _labels(gpu: Mapping[str, Any]) -> str:
    """The labels that are not empty and not shown already."""
    shown = {str(gpu[name]) for name in ("uuid", "modelName", "hostname", "gpu_id", "device")}
    left = {name: text for name, text in gpu["labels"].items() if text and text not in shown}
    return ", ".join(f"{name}={text}" for name, text in left.items())


def sparklines(
    hour: Iterable[Mapping[str, Any]], start_s: float, end_s: float
) -> dict[tuple[str, str], str]:
    """A sparkline by metric and MIG instance, of records a step apart between two Unix times."""
    first = start_s // _STEP_S
    count = int(end_s // _STEP_S - first) + 1
    values: dict[tuple[str, str], list[float | None]] = {}
    for record in hour:
        index = int(times.parse(record["timestamp"]).timestamp() // _STEP_S - first)
        instance = parsed_labels(record["labels_raw"])["GPU_I_ID"]
        line = values.setdefault((record["metric_name"], instance), [None] * count)
        if 0 <= index < count and line[index] is None:  # the first of several series
            line[index] = record["value"]
    return {key: sparkline(line) for key, line in values.items()}
