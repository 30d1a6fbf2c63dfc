"""The api role: serve the API until the context ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gputel.api.app import build_app
from gputel.api.push.pusher import Pusher
from gputel.config.settings import ApiSettings
from gputel.memory import keep_freed_memory
from gputel.store.read.reader import Reader
from gputel.web.access.access import Access
from gputel.web.base_path import BASE_PATH
from gputel.web.health import Health
from gputel.web.server.listener import Listener, listen
from gputel.web.server.patience import Patience

_STALL_S = 60.0  # a client that takes no byte for this long is cut off; a slow one is not


@asynccontextmanager
async def serve(
    settings: ApiSettings,
    host: str,
    reader: Reader,
    health: Health,
    access: Access | None = None,
    pusher: Pusher | None = None,
) -> AsyncIterator[Listener]:
    """Answer questions on ``api_port``.

    Without ``access`` every client is allowed; without a pusher no records are taken. Handlers
    unpack the bodies that they read. Raises PortTaken or UsageError if it cannot listen.
    """
    keep_freed_memory()
    access = access or Access()
    app = build_app(reader, health, settings, access, pusher, host)
    async with listen(
        app,
        host,
        settings.api_port,
        "--api-port",
        certificate=access.certificate,
        patience=Patience(settings.api_idle_timeout_s, reply_s=_STALL_S),
        auto_decompress=False,
        open_connections=access.open_connections,
        base_path=app[BASE_PATH],
        log_requests=access.log_requests,
    ) as listener:
        yield listener
