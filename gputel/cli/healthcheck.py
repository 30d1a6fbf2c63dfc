"""``gputel healthcheck``: whether the gputel on this machine is alive, for containers."""

from __future__ import annotations

import http.client
import ssl
from typing import Any

import click

from gputel.cli.options import settings_options
from gputel.cli.terminal import echo
from gputel.config.resolve import resolve
from gputel.errors import ApiError
from gputel.web.server.hosts import own_address

_TIMEOUT_S = 3.0


@click.command("healthcheck")
@click.option(
    "--ready", is_flag=True, help="Check whether it can do its work, not only whether it is alive."
)
@settings_options("host", "health_port", "broker_port", "api_port", "tls_cert")
def healthcheck_command(ready: bool, **flags: Any) -> None:
    """Check the health of the gputel that runs here with these settings; exit 0 if it is good.

    It checks those of the ports of api, broker and health that are open. No open port is an error.
    """
    settings = resolve(flags).settings
    path = "/readyz" if ready else "/healthz"
    host = own_address(settings.common.host)
    ports = [settings.api.api_port, settings.broker.broker_port, settings.common.health_port]
    secure = settings.access.tls_cert is not None
    answers = {port: _status(host, port, path, secure) for port in dict.fromkeys(ports) if port}
    listening = {port: answer for port, answer in answers.items() if answer is not None}
    if not listening:
        raise ApiError(f"no gputel listens on {host}, ports {', '.join(map(str, answers))}")
    for port, answer in listening.items():
        if answer != "200":
            raise ApiError(f"{host}:{port}{path} answers {answer}")
    echo("ready" if ready else "ok")


def _status(host: str, port: int, path: str, secure: bool) -> str | None:
    """The status of the answer, or the error instead of one; None if nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    if secure:  # this machine, and the request has no secret: no need to check the name
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        return str(connection.getresponse().status)
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
