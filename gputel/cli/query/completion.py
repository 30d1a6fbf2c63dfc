"""What Tab offers: names that the API knows now. Whatever goes wrong, it offers nothing.

Names come from whoever can push a record: completion_shells quotes them for the shell.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import click

from gputel.cli.ask import api as api_client

_TIMEOUT_S = 1.0
_MOST = 1_000
"""Names offered: more than that help nobody."""


def metrics(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Names of metrics that begin like this."""
    return _begin_like(begun, _names(context, "metrics", "metric_name"))


def hostnames(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Names of hosts that begin like this."""
    return _begin_like(begun, _names(context, "hosts", "hostname"))


def uuids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The uuids that begin like this."""
    return _begin_like(begun, _names(context, "gpus", "uuid", uuid=begun or None))


def models(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Models of GPUs that begin like this."""
    return _begin_like(begun, _names(context, "gpus", "modelName"))


def _begin_like(begun: str, names: list[str]) -> list[str]:
    """Without those that the command would take for an option, as --api-url=http://elsewhere."""
    fit = (name for name in dict.fromkeys(names) if name.startswith(begun) and name[:1] != "-")
    return list(islice(fit, _MOST))


def _names(context: click.Context, path: str, field: str, **wanted: Any) -> list[str]:
    given = context.params.get("api_url") or os.environ.get("GPUTEL_API_URL")
    try:
        rows = api_client.rows(
            given or api_client.default_api_url(), ("api", "v1", path), wanted, _TIMEOUT_S
        )
        return [str(row[field]) for row in rows]
    except Exception:  # whoever pressed Tab cannot read an error between what they type
        return []
