"""``gputel queue verify``: check a broker's journal without a broker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gputel.cli.ask.broker import FileCommand
from gputel.cli.terminal import echo
from gputel.errors import UsageError

if TYPE_CHECKING:
    from gputel.mq.journal.recovery import Recovery


@click.command("verify", cls=FileCommand)
@click.argument("directory", type=click.Path(path_type=Path))
def verify_command(directory: Path) -> None:
    """Check the journal in DIRECTORY, which no broker may use now. Exit code 1 if it is damaged."""
    from gputel.mq.journal.files import lock_directory, segments_in
    from gputel.mq.journal.recovery import recover

    if not directory.is_dir() or not segments_in(directory):
        raise UsageError(f"{directory} holds no journal")
    lock = lock_directory(directory)
    try:
        recovered = recover(directory)
        damage = [str(damage) for damage in recovered.damage]
        declared = _declared(directory, damage)
    finally:
        os.close(lock)
    _show(recovered, declared, damage)
    if damage:
        sys.exit(1)


def _declared(directory: Path, damage: list[str]) -> str:
    from gputel.broker.durable.declarations import BadDeclarations, Declarations

    try:
        return str(len(Declarations(directory).read()))
    except BadDeclarations as error:
        damage.append(error.message)
        return "unknown"


def _show(recovered: Recovery, declared: str, damage: list[str]) -> None:
    dead = sum(message.stored.dead for message in recovered.live.values())
    echo(f"segments   {len(recovered.segments)}")
    echo(f"records    {recovered.records}")
    echo(f"messages   {len(recovered.live)}, of them {dead} dead letters")
    echo(f"declared   {declared} queues")
    for torn in recovered.torn:
        echo(f"torn end   {torn}, as a broker leaves it when it ends while it writes")
    for damaged in damage:
        echo(f"DAMAGE     {damaged}", err=True)
    echo("damaged" if damage else "sound")
