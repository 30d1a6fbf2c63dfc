"""``gputel openapi``: the API's document."""

from __future__ import annotations

import json

import click


@click.command("openapi")
def openapi_command() -> None:
    """Print the API's OpenAPI 3.0.3 document as JSON."""
    # Here, so that no other command waits for what only this one needs.
    from gputel.api.app import build_app
    from gputel.api.pages import DOCUMENT
    from gputel.web.health import Health

    document = build_app(None, Health())[DOCUMENT]()
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
