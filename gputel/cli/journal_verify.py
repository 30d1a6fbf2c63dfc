"""``gputel queue verify``: whether a broker's journal is sound, read without a broker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from gputel.errors import UsageError
from gputel.mq.journal_files import lock_directory, segments_in
from gputel.mq.journal_recovery import Recovered, recover


@click.command("verify")
@click.argument("directory", type=click.Path(path_type=Path))
def verify_command(directory: Path) -> None:
    """Check the journal in DIRECTORY, which no broker may be using. Exits 1 when it is damaged."""
    if not directory.is_dir() or not segments_in(directory):
        raise UsageError(f"{directory} holds no journal")
    lock = lock_directory(directory)
    try:
        recovered = recover(directory)
    finally:
        os.close(lock)
    _show(recovered)
    if recovered.damage:
        sys.exit(1)


def _show(recovered: Recovered) -> None:
    dead = sum(found.stored.dead for found in recovered.live.values())
    click.echo(f"segments   {len(recovered.segments)}")
    click.echo(f"records    {recovered.records}")
    click.echo(f"messages   {len(recovered.live)}, of them {dead} dead letters")
    for torn in recovered.torn:
        click.echo(f"torn end   {torn}, as a broker leaves it that ends while it writes")
    for damage in recovered.damage:
        click.echo(f"DAMAGE     {damage}", err=True)
    click.echo("damaged" if recovered.damage else "sound")
