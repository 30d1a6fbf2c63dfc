"""``gputel queue``: inspect and change the queues of a broker."""

from __future__ import annotations

import os
from base64 import b64encode

import click

from gputel.cli.ask.broker import Broker, BrokerCommand, BrokerGroup, refuse_unused
from gputel.cli.ask.http import quoted
from gputel.cli.queue.names import declare_queue, delete_queue, list_queues
from gputel.cli.queue.verify import verify_command
from gputel.cli.standard_streams import standard_input
from gputel.cli.terminal import console, echo_json
from gputel.config.resolve import resolve


@click.group("queue", cls=BrokerGroup)
@click.option("--broker-url", metavar="URL", help="Broker to ask.  [default: this machine's, 8081]")
@click.option("--queue", default="default", help="Name of the queue.  [default: default]")
@click.pass_context
def queue(context: click.Context, broker_url: str | None, queue: str) -> None:
    """Inspect and change the queues of a broker."""
    refuse_unused(context)
    settings = resolve({"broker_url": broker_url}).settings
    context.obj = Broker(settings.broker_url, queue)


@queue.command("stats")
@click.pass_obj
def stats_command(broker: Broker) -> None:
    """Show the messages of the queue, its limits, its counters and its times."""
    stats = broker.ask("/stats")
    screen = console()
    if screen.is_terminal:
        from gputel.cli.queue.stats import stats_table

        screen.print(stats_table(stats))
    else:
        echo_json(stats)


@queue.command("peek")
@click.option("--max", "most", type=click.IntRange(1, 1_000), default=10, show_default=True)
@click.option("--max-payload-bytes", type=click.IntRange(0), default=65_536, show_default=True,
              help="Leave out larger payloads.")  # fmt: skip
@click.pass_obj
def peek_command(broker: Broker, most: int, max_payload_bytes: int) -> None:
    """Print the next messages, one JSON object on each line, without consuming them."""
    for message in broker.ask("/peek", max=most, max_payload_bytes=max_payload_bytes):
        echo_json(message)


@queue.command("publish")
@click.argument("payload", required=False)
@click.option("--id", "id_", help="Id of the message.  [default: made by the broker]")
@click.option("--key", default="", help="Key of the message.")
@click.pass_obj
def publish_command(broker: Broker, payload: str | None, id_: str | None, key: str) -> None:
    """Publish one message: PAYLOAD, or standard input if PAYLOAD is - or left out; any bytes."""
    data = standard_input() if payload in (None, "-") else os.fsencode(payload)
    try:
        message = {"payload": data.decode()}
    except UnicodeDecodeError:
        message = {"payload": b64encode(data).decode(), "encoding": "base64"}
    message |= {"key": key} | ({"id": id_} if id_ else {})
    echo_json(broker.ask("/publish", message))


@queue.command("consume")
@click.option("--max", "most", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--wait-s", type=click.FloatRange(0, 20), default=0, show_default=True,
              help="Seconds to wait for the first message.")  # fmt: skip
@click.option(
    "--no-ack", is_flag=True, help="Do not ack the messages: they will be delivered again."
)
@click.pass_obj
def consume_command(broker: Broker, most: int, wait_s: float, no_ack: bool) -> None:
    """Print messages, one JSON object on each line, and ack each after it is printed."""
    for message in broker.ask("/consume", "", max=most, wait_s=wait_s):
        echo_json(message)
        if not no_ack:
            broker.ask("/ack", {"id": message["id"], "lease": message["lease"]})


@queue.command("drain", cls=BrokerCommand)
@click.pass_obj
def drain_command(broker: Broker) -> None:
    """Refuse publishes from now on, and let consumers empty the broker's queues."""
    echo_json(broker.request("POST", "/admin/drain"))


@queue.group("dead-letters", cls=BrokerGroup, invoke_without_command=True)
@click.pass_context
def dead_letters(context: click.Context) -> None:
    """Messages that failed for good: list (the default), show, replay, purge."""
    if context.invoked_subcommand is None:
        context.invoke(list_command)


@dead_letters.command("list")
@click.option("--offset", type=click.IntRange(0), default=0)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.pass_obj
def list_command(broker: Broker, offset: int, limit: int) -> None:
    """Print dead letters, oldest first, one JSON object on each line."""
    for letter in broker.ask("/dead-letters", offset=offset, limit=limit)["dead_letters"]:
        echo_json(letter)


@dead_letters.command("show")
@click.argument("id_", metavar="ID")
@click.pass_obj
def show_command(broker: Broker, id_: str) -> None:
    """Print one dead letter with its payload and its history."""
    echo_json(broker.ask(f"/dead-letters/{quoted(id_)}"), indent=2)


def _act(broker: Broker, action: str, ids: tuple[str, ...], every: bool) -> None:
    if bool(ids) == every:
        raise click.UsageError("name the dead letters by ID, or give --all")
    body = {"all": True} if every else {"ids": list(ids)}
    echo_json(broker.ask(f"/dead-letters/{action}", body))


@dead_letters.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.pass_obj
def replay_command(broker: Broker, ids: tuple[str, ...], every: bool) -> None:
    """Make dead letters ready again, behind all other messages."""
    _act(broker, "replay", ids, every)


@dead_letters.command("purge")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.pass_obj
def purge_command(broker: Broker, ids: tuple[str, ...], every: bool) -> None:
    """Drop dead letters."""
    _act(broker, "purge", ids, every)


for command in (list_queues, declare_queue, delete_queue, verify_command):
    queue.add_command(command)
