"""The api role: serve the API until told to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gputel.api.app import build_app
from gputel.config import ApiSettings
from gputel.store.reader import Reader
from gputel.web.access import Access
from gputel.web.health import Health
from gputel.web.listener import Listener, listen


@asynccontextmanager
async def serve(
    settings: ApiSettings,
    host: str,
    reader: Reader,
    health: Health,
    access: Access | None = None,
) -> AsyncIterator[Listener]:
    """Answer questions on ``api_port``; the process is ready only while Postgres answers.

    Without ``access`` everyone is let in. Raises PortTaken or UsageError where it cannot listen.
    """
    health.add("postgres", reader.check)
    access = access or Access()
    app = build_app(reader, health, settings, access)
    port = settings.api_port
    async with listen(app, host, port, "--api-port", certificate=access.certificate) as listener:
        yield listener
