"""The names that Tab offers: those that the API knows now, or none after any error.

Anybody who can push a record can choose them, so completion_shells quotes them for the shell.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import click

from gputel.cli.ask import api as api_client

_TIMEOUT_S = 1.0
_MOST = 1_000
"""More names than this help nobody."""


def metrics(context: click.Context, _parameter: click.Parameter, prefix: str) -> list[str]:
    """Metrics whose names begin with the prefix."""
    return _beginning_with(prefix, _names(context, "metrics", "metric_name"))


def hostnames(context: click.Context, _parameter: click.Parameter, prefix: str) -> list[str]:
    """Hosts whose names begin with the prefix."""
    return _beginning_with(prefix, _names(context, "hosts", "hostname"))


def uuids(context: click.Context, _parameter: click.Parameter, prefix: str) -> list[str]:
    """The uuids that begin with the prefix."""
    return _beginning_with(prefix, _names(context, "gpus", "uuid", uuid=prefix or None))


def models(context: click.Context, _parameter: click.Parameter, prefix: str) -> list[str]:
    """Models of GPUs that begin with the prefix."""
    return _beginning_with(prefix, _names(context, "gpus", "modelName"))


def _beginning_with(prefix: str, names: list[str]) -> list[str]:
    """Without names that a command would take for an option, as --api-url=http://elsewhere."""
    fit = (name for name in dict.fromkeys(names) if name.startswith(prefix) and name[:1] != "-")
    return list(islice(fit, _MOST))


def _names(context: click.Context, path: str, field: str, **parameters: Any) -> list[str]:
    api_url = context.params.get("api_url") or os.environ.get("GPUTEL_API_URL")
    try:
        rows = api_client.rows(
            api_url or api_client.default_api_url(), ("api", "v1", path), parameters, _TIMEOUT_S
        )
        return [str(row[field]) for row in rows]
    except Exception:  # an error message would be in the middle of the command line
        return []
