"""The broker that ``gputel queue`` asks, over HTTP."""

from __future__ import annotations

import http.client
import json
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import click

from gputel.cli.ask.api import connection_to, token_header
from gputel.config.values import check_broker_url
from gputel.errors import BadRequest, BrokerUnavailable, RequestError, UsageError
from gputel.mq.client.addresses import are_several

_TIMEOUT_S = 30.0
_IN_A_SHELL = {"GET /queues tells": "`gputel queue list` tells", "?force=true": "--force"}


class BrokerGroup(click.Group):
    """A group whose ``--broker-url`` and ``--queue`` may also stand behind a command's name."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; those that take a Broker take its options too."""
        super().add_command(cmd, name)
        if cmd.name == "verify":
            return
        for option, attribute in (("--broker-url", "url"), ("--queue", "queue")):
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
    """One broker and one of its queues, asked over HTTP in JSON. Blocks.

    Raises ConfigError when the URL is none.
    """

    def __init__(self, url: str, queue: str) -> None:
        check_broker_url(url)
        self.url = url.rstrip("/")
        self.queue = queue

    def ask(self, path: str, body: object = None, **query: object) -> Any:
        """What ``request`` gives, of a request about the queue: a POST if it has a body.

        None is no body, and "" an empty one.
        """
        method = "GET" if body is None else "POST"
        return self.request(method, path, body, queue=self.queue, **query)

    def request(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """The decoded reply.

        Raises RequestError with the broker's own words, BrokerUnavailable when there is none,
        UsageError when the URL is of several.
        """
        if are_several(self.url):
            raise UsageError(
                f"--broker-url: {self.url} is more than one broker, and `gputel queue` asks one: "
                "name it, as in `gputel queue --broker-url http://HOST:8081 ...`"
            )
        parts = urlsplit(self.url)
        target = f"{parts.path}{path}?{urlencode(query)}"
        data = None if body is None else json.dumps(body).encode() if body != "" else b""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= token_header()
        connection = connection_to(parts.scheme, str(parts.hostname), parts.port, _TIMEOUT_S)
        try:
            connection.request(method, target, data, headers)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BrokerUnavailable(
                f"no broker answers at {self.url} ({reason}): start one with "
                "`gputel run --role broker`, or name another with --broker-url"
            ) from None
        finally:
            connection.close()
        if reply.status >= http.client.MULTIPLE_CHOICES:
            raise _refusal(reply.status, text)
        return _decoded(self.url, text)


def _decoded(url: str, text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        raise BrokerUnavailable(
            f"what answers at {url} is no broker: its reply is not understood"
        ) from None


def _refusal(status: int, text: bytes) -> RequestError:
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return BadRequest(f"the broker answered {status}")
    for request, words in _IN_A_SHELL.items():
        message = message.replace(request, words)
    return BadRequest(message)
