"""``gputel simulate``: the DCGM CSV of a simulated fleet."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gputel.errors import OutputFailed
from gputel.owned_files import open_output
from gputel.sources.dcgm.classify import Malformed, parse_time
from gputel.sources.simulated.simulator import simulate


class _TimeType(click.ParamType[datetime]):
    """A timestamp in the format of a DCGM CSV."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse it, or fail with the reason."""
        if isinstance(value, datetime):
            return value
        try:
            micros = parse_time(str(value))
        except Malformed as problem:
            self.fail(problem.reason, param, ctx)
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


@click.command("simulate")
@click.option("--hosts", type=click.IntRange(1, 100_000), default=31, show_default=True)
@click.option("--gpus", type=click.IntRange(1, 64), default=8, show_default=True, help="Per host.")
@click.option("--rows", type=click.IntRange(0), required=True, help="Number of rows.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True)
@click.option("--start", type=_TimeType(), help="First timestamp. Default: the file ends now.")
@click.option(
    "--interval-s",
    type=click.FloatRange(0.000001, 86400),
    default=10,
    show_default=True,
    help="Seconds between two readings of a metric.",
)
@click.option("--pods", is_flag=True, help="Half of the GPUs belong to Kubernetes pods.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write. Default: standard output."
)
def simulate_command(output: Path | None, **fleet: Any) -> None:
    """Write the DCGM CSV of a simulated fleet with realistic values.

    With the same seed and start it is the same file on every machine.
    """
    if output is None:
        simulate(sys.stdout.buffer, **fleet)
        return
    try:
        with os.fdopen(open_output(output), "wb") as out:
            simulate(out, **fleet)
    except OSError as error:
        raise OutputFailed(f"{output}: cannot be written: {error.strerror}") from None
