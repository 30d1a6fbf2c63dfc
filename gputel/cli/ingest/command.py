"""``gputel ingest``: files in, a report of every row out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gputel.cli.ingest.inputs import STANDARD_INPUT, Input, find_inputs
from gputel.cli.logs import configure_logs
from gputel.cli.options import settings_options
from gputel.cli.terminal import tell
from gputel.config.resolve import resolve
from gputel.config.settings import MIB
from gputel.errors import Stopped, UsageError
from gputel.memory import keep_memory_in_one_place
from gputel.runtime import run_loop

DEFAULTS = {"rate": 0.0, "timestamps": "source", "log_level": "warning", "chunk_lease_s": 10.0}
DEFAULTS |= {"queue_max_bytes": 64 * MIB}
_SKIP = ("host", "csv", "loop", "broker_port", "health_port", "chunk_interval_s")
EXIT_STOPPED = 130


@click.command("ingest")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--follow",
    is_flag=True,
    help="Go on as the FILEs grow and are rotated, until SIGTERM or Ctrl-C.",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rejected lines are kept.  [default: <FILE's name>.rejects.csv in this directory]",
)
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text",
              help="Shape of the summary.  [default: text]")  # fmt: skip
@settings_options("common", "postgres", "broker", "streamer", "collector",
                  skip=_SKIP, defaults=DEFAULTS)  # fmt: skip
def ingest_command(
    files: tuple[Path, ...], follow: bool, rejects: Path | None, shape: str, **flags: Any
) -> None:
    """Land every row of DCGM CSV files (plain, .gz or .zst), exactly once, and report on it.

    A FILE may be a directory, which stands for the .csv, .gz and .zst files in it, a quoted
    pattern, or - for standard input.

    Starts a broker and a collector of its own, on the embedded Postgres or on --postgres-dsn;
    with --broker-url the rows go to that broker, whose collectors must use the same Postgres.
    Running it again on the same file goes on where it stood, and lands nothing twice.

    Ends with 0 when every row has landed, 3 when some were rejected, 1 when a file could not be
    read or landed, 130 when it was stopped. With --follow, being stopped is no failure.
    """
    keep_memory_in_one_place()
    given = flags | {"host": "127.0.0.1", "loop": False, "broker_port": 0}
    settings = resolve(given, defaults=DEFAULTS).settings
    configure_logs(settings.common)
    inputs, failed = _inputs(files, follow=follow)
    if len(inputs) > 1 and (rejects or settings.streamer.stream_id):
        raise UsageError("--rejects and --stream-id are for one FILE: name them one at a time")
    if not inputs:
        sys.exit(1)
    from gputel.cli.ingest.follow import follow_all
    from gputel.cli.ingest.run import ingest_all

    run = follow_all if follow else ingest_all
    try:
        code = run_loop(run(inputs, rejects, shape, settings, failed=failed))
    except Stopped:  # while starting: unlike for a server, the work was not done
        tell("stopped before anything was read")
        code = EXIT_STOPPED
    sys.exit(code)


def _inputs(files: tuple[Path, ...], *, follow: bool) -> tuple[list[Input], bool]:
    """What is to be read, and whether something cannot be, which has been told."""
    if not follow:
        inputs, wrong = find_inputs(files)
        for error in wrong:
            tell(error.message)
        return inputs, bool(wrong)
    for path in files:
        if path == STANDARD_INPUT or path.is_dir():
            raise UsageError(f"--follow: {path} is no file: name the files that grow")
        if not path.parent.is_dir():
            raise UsageError(f"--follow: {path.parent} is no directory; check the path")
    return [Input(path) for path in dict.fromkeys(files)], False
