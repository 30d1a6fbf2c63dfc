"""``gputel queue list|declare|delete``: the queues of a broker by name."""

from __future__ import annotations

import click

from gputel.cli.ask.broker import Broker, BrokerCommand
from gputel.cli.ask.http import quoted
from gputel.cli.terminal import console, echo_json
from gputel.printable import printable
from gputel.units import size

_COUNTS = {"ready": "ready", "delayed": "delayed", "in_flight": "in flight", "dead": "dead"}


@click.command("list", cls=BrokerCommand)
@click.pass_obj
def list_queues(broker: Broker) -> None:
    """Show every queue of the broker: a table, or in a pipe one JSON object on each line."""
    queues = broker.request("GET", "/queues")["queues"]
    screen = console()
    if not screen.is_terminal:
        for each in queues:
            echo_json(each)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("queue", overflow="fold")
    for title in (*_COUNTS.values(), "size"):
        table.add_column(title, justify="right")
    table.add_column("keys")
    for each in queues:
        counts = [f"{each[name]:,}" for name in _COUNTS]
        keys = "in order" if each["ordered_keys"] else ""
        table.add_row(printable(each["name"]), *counts, size(each["bytes"]), keys)
    screen.print(table)


@click.command("declare", cls=BrokerCommand)
@click.argument("name")
@click.option("--ordered-keys/--no-ordered-keys", default=None,
              help="Deliver one message of a key at a time.  [default: unchanged]")  # fmt: skip
@click.pass_obj
def declare_queue(broker: Broker, name: str, ordered_keys: bool | None) -> None:
    """Declare the queue NAME, or change its option; it exists until it is deleted."""
    options = {} if ordered_keys is None else {"ordered_keys": ordered_keys}
    echo_json(broker.request("PUT", _path(name), options))


@click.command("delete", cls=BrokerCommand)
@click.argument("name")
@click.option("--force", is_flag=True, help="Drop its messages too.")
@click.pass_obj
def delete_queue(broker: Broker, name: str, force: bool) -> None:
    """Delete the queue NAME. It must be empty, unless --force drops its messages."""
    forced = {"force": "true"} if force else {}
    echo_json(broker.request("DELETE", _path(name), **forced))


def _path(name: str) -> str:
    return f"/queues/{quoted(name)}"
