"""``gputel queue list|declare|delete``: the queues of a broker by name."""

from __future__ import annotations

from urllib.parse import quote

import click
from rich.table import Table

from gputel.cli.ask.broker import Broker
from gputel.cli.terminal import console, say_json
from gputel.printable import printable
from gputel.units import size

_COUNTS = {"ready": "ready", "delayed": "delayed", "in_flight": "in flight", "dead": "dead"}


@click.command("list")
@click.pass_obj
def list_queues(broker: Broker) -> None:
    """Show every queue of the broker: a table, or in a pipe one JSON object a line."""
    queues = broker.request("GET", "/queues")["queues"]
    screen = console()
    if not screen.is_terminal:
        for found in queues:
            say_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("queue", overflow="fold")
    for title in (*_COUNTS.values(), "size"):
        table.add_column(title, justify="right")
    table.add_column("keys")
    for found in queues:
        counts = [f"{found[name]:,}" for name in _COUNTS]
        keys = "in order" if found["ordered_keys"] else ""
        table.add_row(printable(found["name"]), *counts, size(found["bytes"]), keys)
    screen.print(table)


@click.command("declare")
@click.argument("name")
@click.option("--ordered-keys/--no-ordered-keys", default=None,
              help="Deliver one message of a key at a time.  [default: as it is]")  # fmt: skip
@click.pass_obj
def declare_queue(broker: Broker, name: str, ordered_keys: bool | None) -> None:
    """Make the queue NAME, or change its option; it stays until it is deleted."""
    options = {} if ordered_keys is None else {"ordered_keys": ordered_keys}
    say_json(broker.request("PUT", _path(name), options))


@click.command("delete")
@click.argument("name")
@click.option("--force", is_flag=True, help="Drop the messages that it holds.")
@click.pass_obj
def delete_queue(broker: Broker, name: str, force: bool) -> None:
    """Delete the queue NAME. It must be empty, or --force drops what it holds."""
    forced = {"force": "true"} if force else {}
    say_json(broker.request("DELETE", _path(name), **forced))


def _path(name: str) -> str:
    return f"/queues/{quote(name, safe='')}"
