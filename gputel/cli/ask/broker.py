"""Requests of ``gputel queue`` to a broker."""

from __future__ import annotations

import http.client
import json
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from gputel.cli.ask.http import Server, query_string
from gputel.cli.ask.http import request as http_request
from gputel.config.values import check_broker_url
from gputel.errors import BadRequest, BrokerUnavailable, UsageError
from gputel.mq.wire.addresses import are_several

_TIMEOUT_S = 30.0
_IN_A_SHELL = {"GET /queues tells": "`gputel queue list` tells", "?force=true": "--force"}


class BrokerCommand(click.Command):
    """A command about a whole broker."""

    unused: tuple[str, ...] = ("queue",)
    """The options of ``gputel queue`` that have no effect."""


class FileCommand(BrokerCommand):
    """A command that asks no broker."""

    unused = ("queue", "broker_url")


def refuse_unused(context: click.Context) -> None:
    """Raise UsageError for an option of the group whose command does not use it."""
    assert isinstance(context.command, click.Group)
    command = context.command.get_command(context, context.invoked_subcommand or "")
    for name in command.unused if isinstance(command, BrokerCommand) else ():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = "--" + name.replace("_", "-")
            raise UsageError(
                f"{flag}: `gputel queue {context.invoked_subcommand}` does not use it: leave it out"
            )


class BrokerGroup(click.Group):
    """A group that takes ``--broker-url`` and ``--queue`` also behind the name of a command."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with those of the two options that it uses."""
        super().add_command(cmd, name)
        for option, attribute in (("--broker-url", "url"), ("--queue", "queue")):
            if isinstance(cmd, BrokerCommand) and option[2:].replace("-", "_") in cmd.unused:
                continue
            cmd.params.append(
                click.Option(
                    [option],
                    callback=partial(_change, attribute),
                    expose_value=False,
                    hidden=True,
                )
            )


def _change(
    attribute: str, context: click.Context, _option: click.Parameter, value: str | None
) -> None:
    if value is not None:
        broker: Broker = context.obj
        changed = {"url": broker.url, "queue": broker.queue, attribute: value}
        context.obj = Broker(**changed)


class Broker:
    """One broker and one of its queues. Its methods block.

    Raises ConfigError for a text that is not a broker's URL.
    """

    def __init__(self, url: str, queue: str) -> None:
        check_broker_url(url)
        self.url = url.rstrip("/")
        self.queue = queue

    def ask(self, path: str, body: object = None, **query: object) -> Any:
        """As ``request``, about the queue; it is a POST if it has a body.

        A body of None is no body, and "" is an empty one.
        """
        method = "GET" if body is None else "POST"
        return self.request(method, path, body, queue=self.queue, **query)

    def request(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """The decoded JSON of the reply.

        Raises BadRequest with the broker's own words, BrokerUnavailable if no broker answers,
        UsageError if the URL names several brokers.
        """
        if are_several(self.url):
            raise UsageError(
                f"--broker-url: {self.url} is more than one broker, but `gputel queue` asks one: "
                "name it, as in `gputel queue --broker-url http://HOST:8081 ...`"
            )
        data = None if body is None else json.dumps(body).encode() if body != "" else b""
        server = Server(
            self.url, "broker", "--broker-url", "gputel run --role broker",
            BrokerUnavailable, _refusal,
        )  # fmt: skip
        target = path + query_string(query)
        headers = {"Content-Type": "application/json"}
        with http_request(
            server, method, target, timeout_s=_TIMEOUT_S, body=data, headers=headers
        ) as response:
            return _decoded(server, response)


def _decoded(server: Server, response: http.client.HTTPResponse) -> Any:
    try:
        text = response.read()
        return json.loads(text) if text else None
    except (OSError, http.client.HTTPException):
        raise BrokerUnavailable(
            f"the broker at {server.url} broke off its answer: try again, and look at its log if "
            "that happens again"
        ) from None
    except (ValueError, RecursionError):
        raise BrokerUnavailable(
            f"{server.url} is not a broker: its reply cannot be understood"
        ) from None


def _refusal(message: str, _status: int) -> BadRequest:
    for request, words in _IN_A_SHELL.items():
        message = message.replace(request, words)
    return BadRequest(message)
