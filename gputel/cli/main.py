"""The console script: its commands, and how their errors end."""

from __future__ import annotations

import sys

import click

from gputel import __version__
from gputel.cli.db import db
from gputel.cli.ingest import ingest_command
from gputel.cli.openapi import openapi_command
from gputel.cli.query import query
from gputel.cli.run import config_command, roles_command, run_command
from gputel.cli.simulate import simulate_command
from gputel.errors import GputelError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gputel")
def cli() -> None:
    """GPU telemetry from DCGM to Postgres, through gputel's own message queue."""


COMMANDS: tuple[click.Command, ...] = (
    *(run_command, ingest_command, query, simulate_command, db),
    *(roles_command, config_command, openapi_command),
)
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line; an error of gputel's own is one line on stderr, never a traceback."""
    try:
        cli()
    except GputelError as error:
        print(f"gputel: {error.message}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
