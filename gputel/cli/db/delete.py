"""``gputel db delete``: the conditions of what to delete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from gputel.cli.moments import TimeType
from gputel.cli.options import settings_options
from gputel.config.resolve import resolve
from gputel.errors import UsageError


def _texts(flag: str, name: str, help_: str) -> Callable[..., Any]:
    return click.option(flag, name, multiple=True, metavar="TEXT", help=help_)


@click.command("delete")
@_texts("--stream", "streams", "Samples that came by this stream; see gputel db streams.")
@_texts("--host", "hosts", "Samples of this host.")
@_texts("--gpu", "gpus", "Samples of this GPU: its uuid, or HOST/INDEX.")
@_texts("--metric", "metrics", "Samples of this metric; * is any text, ? is one character.")
@click.option("--start", type=TimeType(), help="Oldest time: 15m, 7d, now-1h, or RFC 3339.")
@click.option("--end", type=TimeType(end=True), help="Newest time, written in the same way.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Delete without a question.")
@click.option("--format", "shape", type=click.Choice(("table", "json")), default="table")
@settings_options("data_dir", "postgres")
def delete_command(
    streams: tuple[str, ...],
    hosts: tuple[str, ...],
    gpus: tuple[str, ...],
    metrics: tuple[str, ...],
    start: str | None,
    end: str | None,
    dry_run: bool,
    yes: bool,
    shape: str,
    **flags: str | None,
) -> None:
    """Delete the samples that meet all conditions; show how many they are, and ask first.

    Give at least one condition. All but --start and --end may be repeated: a sample then needs to
    meet one of them. With --stream alone the stream goes too, so that its file can be ingested
    again.
    """
    from gputel.cli.db.delete_dialog import deletion_of, run

    deletion = deletion_of(streams, hosts, gpus, metrics, start, end)
    if not (dry_run or yes or sys.stdin.isatty()):
        raise UsageError(
            "db delete asks before it deletes, and there is no terminal to ask on: see what would "
            "go with --dry-run, and delete it with --yes"
        )
    if shape == "json" and not (dry_run or yes):
        raise UsageError("--format json asks no question: add --dry-run or --yes")
    run(resolve(flags).settings, deletion, shape, dry_run=dry_run, yes=yes)
