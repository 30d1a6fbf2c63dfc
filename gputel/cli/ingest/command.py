"""``gputel ingest``: it lands files and reports on every row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gputel.cli.ingest.inputs import Input, find_inputs
from gputel.cli.logs import configure_logs
from gputel.cli.options import settings_options
from gputel.cli.terminal import print_notice
from gputel.config.resolve import resolve
from gputel.config.settings import MIB
from gputel.errors import Stopped, UsageError
from gputel.memory import keep_memory_in_one_place
from gputel.runtime import run_loop

DEFAULTS = {"rate": 0.0, "timestamps": "source", "log_level": "warning", "chunk_lease_s": 10.0}
DEFAULTS |= {"queue_max_bytes": 64 * MIB}
_SKIP = (
    "host", "csv", "follow", "loop", "scrape", "scrape_config", "scrape_interval", "scrape_batch_s",
    "nvml", "nvml_interval",
    "broker_port", "health_port", "chunk_interval_s",
)  # fmt: skip
EXIT_STOPPED = 130


@click.command("ingest")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--follow",
    is_flag=True,
    help="Continue as the FILEs grow and are rotated, until SIGTERM or Ctrl-C.",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for rejected lines.  [default: <FILE's name>.rejects.csv in this directory]",
)
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text",
              help="Format of the report.  [default: text]")  # fmt: skip
@settings_options("common", "postgres", "broker", "streamer", "collector",
                  skip=_SKIP, defaults=DEFAULTS)  # fmt: skip
def ingest_command(
    files: tuple[Path, ...], follow: bool, rejects: Path | None, shape: str, **flags: Any
) -> None:
    """Land every row of CSV files exactly once, and report on each file.

    A FILE is a CSV of DCGM or of nvidia-smi --query-gpu, plain, .gz or .zst. It may also be a
    directory (its .csv, .gz and .zst files), a quoted pattern, or - for standard input.

    It starts its own broker and collector, on the embedded Postgres or on --postgres-dsn. With
    --broker-url the rows go to that broker instead, whose collectors must use the same Postgres.
    If you run it again on the same file, it continues where it stopped and lands nothing twice.

    Exit code: 0 when every row has landed, 3 when some were rejected, 1 when a file could not be
    read or landed, 130 when it was stopped (0 with --follow).
    """
    keep_memory_in_one_place()
    fixed = {"host": "127.0.0.1", "follow": False, "loop": False, "broker_port": 0}
    settings = resolve(flags | fixed, defaults=DEFAULTS).settings
    configure_logs(settings.common)
    inputs, failed = _inputs(files, follow=follow)
    if len(inputs) > 1 and (rejects or settings.streamer.stream_id):
        raise UsageError(
            "--rejects and --stream-id are for a single FILE: ingest one FILE at a time"
        )
    if not inputs:
        sys.exit(1)
    from gputel.cli.ingest.follow import follow_all
    from gputel.cli.ingest.run import ingest_all

    run = follow_all if follow else ingest_all
    try:
        code = run_loop(run(inputs, rejects, shape, settings, failed=failed))
    except Stopped:  # while starting: for an ingest, unlike a server, that is a failure
        print_notice("stopped before anything was read")
        code = EXIT_STOPPED
    sys.exit(code)


def _inputs(files: tuple[Path, ...], *, follow: bool) -> tuple[list[Input], bool]:
    """The inputs, and whether there were errors, which it prints."""
    if not follow:
        inputs, errors = find_inputs(files)
        for error in errors:
            print_notice(error.message)
        return inputs, bool(errors)
    from gputel.sources.csv.growing import check_followed

    for path in files:
        check_followed(path)
    return [Input(path) for path in dict.fromkeys(files)], False
