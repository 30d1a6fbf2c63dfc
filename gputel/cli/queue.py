"""``gputel queue``: look into a broker's queues, and act on them."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.console import Console
from rich.table import Table

from gputel import config
from gputel.cli.journal_verify import verify_command
from gputel.errors import BadRequest, BrokerUnavailable, RequestError

_TIMEOUT_S = 30.0


class _Broker:
    """One broker and one of its queues, asked over HTTP in JSON. Blocks."""

    def __init__(self, url: str, queue: str) -> None:
        self.url = url.rstrip("/")
        self.queue = queue

    def ask(self, path: str, body: object = None, **query: object) -> Any:
        """The decoded reply: of a GET, or of a POST where there is a body.

        Raises RequestError with the broker's own words, BrokerUnavailable when there is none.
        """
        if not path.startswith("/admin/"):  # those are for the broker as a whole
            query["queue"] = self.queue
        target = f"{self.url}{path}?{urlencode(query)}"
        data = None if body is None else json.dumps(body).encode() if body != "" else b""
        request = urllib.request.Request(  # noqa: S310 - the URL is the user's own setting
            target, data, {"Content-Type": "application/json", "Accept": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310
                text = reply.read()
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerUnavailable(
                f"no broker answers at {self.url} ({reason}): start one with "
                "`gputel run --role broker`, or name another with --broker-url"
            ) from None
        return json.loads(text) if text else None


def _refusal(error: urllib.error.HTTPError) -> RequestError:
    try:
        return BadRequest(json.loads(error.read())["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return BadRequest(f"the broker answered {error.code}")


@click.group("queue")
@click.option("--broker-url", metavar="URL", help="Broker to ask.  [default: this machine's, 8081]")
@click.option("--queue", default="default", help="Name of the queue.  [default: default]")
@click.pass_context
def queue(context: click.Context, broker_url: str | None, queue: str) -> None:
    """Look into a broker's queues, and act on them."""
    settings = config.resolve({"broker_url": broker_url}).settings
    context.obj = _Broker(settings.broker_url, queue)


@queue.command("stats")
@click.pass_obj
def stats_command(broker: _Broker) -> None:
    """Show what the queue holds, its bounds, and what it has counted."""
    stats = broker.ask("/stats")
    console = Console()
    if not console.is_terminal:
        click.echo(json.dumps(stats))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in stats.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if type(value) is int else str(value))
    console.print(table)


@queue.command("publish")
@click.argument("payload", required=False)
@click.option("--id", "id_", help="Id of the message.  [default: made by the broker]")
@click.option("--key", default="", help="Key of the message.")
@click.pass_obj
def publish_command(broker: _Broker, payload: str | None, id_: str | None, key: str) -> None:
    """Publish PAYLOAD, or what comes on standard input, as one message."""
    text = sys.stdin.read() if payload is None else payload
    message = {"payload": text, "key": key} | ({"id": id_} if id_ else {})
    click.echo(json.dumps(broker.ask("/publish", message)))


@queue.command("consume")
@click.option("--max", "most", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--wait-s", type=click.FloatRange(0, 20), default=0, show_default=True,
              help="Seconds to wait for the first message.")  # fmt: skip
@click.option("--no-ack", is_flag=True, help="Leave the messages: they come again.")
@click.pass_obj
def consume_command(broker: _Broker, most: int, wait_s: float, no_ack: bool) -> None:
    """Print messages, one JSON object a line, and ack each after it was printed."""
    for message in broker.ask("/consume", "", max=most, wait_s=wait_s):
        click.echo(json.dumps(message))
        if not no_ack:
            broker.ask("/ack", {"id": message["id"], "lease": message["lease"]})


@queue.command("drain")
@click.pass_obj
def drain_command(broker: _Broker) -> None:
    """Refuse publishes from now on, and let consumers empty the broker's queues."""
    click.echo(json.dumps(broker.ask("/admin/drain", "")))


@queue.group("dead-letters")
def dead_letters() -> None:
    """Messages that failed for good: list, show, replay, purge."""


@dead_letters.command("list")
@click.option("--offset", type=click.IntRange(0), default=0)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.pass_obj
def list_command(broker: _Broker, offset: int, limit: int) -> None:
    """Print dead letters, oldest first, one JSON object a line."""
    for letter in broker.ask("/dead-letters", offset=offset, limit=limit)["dead_letters"]:
        click.echo(json.dumps(letter))


@dead_letters.command("show")
@click.argument("id_", metavar="ID")
@click.pass_obj
def show_command(broker: _Broker, id_: str) -> None:
    """Print one dead letter whole, with its payload and its history."""
    click.echo(json.dumps(broker.ask(f"/dead-letters/{quote(id_)}"), indent=2))


def _act(broker: _Broker, action: str, ids: tuple[str, ...], every: bool) -> None:
    if bool(ids) == every:
        raise click.UsageError("name the dead letters by ID, or say --all")
    body = {"all": True} if every else {"ids": list(ids)}
    click.echo(json.dumps(broker.ask(f"/dead-letters/{action}", body)))


@dead_letters.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.pass_obj
def replay_command(broker: _Broker, ids: tuple[str, ...], every: bool) -> None:
    """Make dead letters ready again, behind all others."""
    _act(broker, "replay", ids, every)


@dead_letters.command("purge")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.pass_obj
def purge_command(broker: _Broker, ids: tuple[str, ...], every: bool) -> None:
    """Drop dead letters for good."""
    _act(broker, "purge", ids, every)


queue.add_command(verify_command)
