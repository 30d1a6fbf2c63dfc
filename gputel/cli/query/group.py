"""``gputel query``: queries to the API, answered as tables for people or data for programs."""

from __future__ import annotations

import click

from gputel.cli.query.export import export_command
from gputel.cli.query.gpu import gpu_command
from gputel.cli.query.inventory import gpus_command, hosts_command, metrics_command
from gputel.cli.query.safe_csv import csv_safe_option
from gputel.cli.query.stream import stream_command
from gputel.cli.query.targets import targets_command
from gputel.cli.query.telemetry import latest_command, telemetry_command
from gputel.cli.query.top import top_command


@click.group()
def query() -> None:
    """Ask the API for GPUs and their telemetry."""


for _command in (
    gpus_command,
    gpu_command,
    hosts_command,
    metrics_command,
    targets_command,
    telemetry_command,
    latest_command,
    top_command,
    stream_command,
    export_command,
):
    if any("csv" in getattr(each.type, "choices", ()) for each in _command.params):
        _command.params.append(csv_safe_option())
    query.add_command(_command)
