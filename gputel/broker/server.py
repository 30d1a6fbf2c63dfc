"""The broker: its queues, routes and listener; start, drain, stop."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from aiohttp import web

from gputel.broker.fast.connection import HOT, HotRoutes
from gputel.broker.queues.queues import Queues
from gputel.broker.requests.dead_letters import AdminHandlers
from gputel.broker.requests.exchange import INTAKE, REPLIES, make_intake, route
from gputel.broker.requests.messages import Consumers, MessageHandlers
from gputel.broker.requests.numbers import metrics_of
from gputel.broker.requests.queues import QueueHandlers
from gputel.broker.requests.stats import StatsHandlers
from gputel.config.settings import BrokerSettings
from gputel.memory import keep_freed_memory
from gputel.web.access.access import ACCESS, Access, access_middleware, scope_of_health
from gputel.web.access.site import NAMES, site_middleware
from gputel.web.access.tokens import Scope
from gputel.web.errors import error_middleware
from gputel.web.headers.added import guard_response
from gputel.web.health import Check, Health, add_health_routes
from gputel.web.request_metrics import request_metrics
from gputel.web.server.listener import Listener, listen
from gputel.web.server.patience import LEAST_BYTES_PER_S, Patience

if TYPE_CHECKING:
    from gputel.broker.durable.durability import Durability

log = logging.getLogger("gputel.broker")

_LOOK_AGAIN_S = 0.2


@asynccontextmanager
async def serve(
    settings: BrokerSettings,
    host: str,
    health: Health,
    *,
    drain_deadline_s: float,
    access: Access | None = None,
) -> AsyncIterator[Listener]:
    """Run a broker on ``settings.broker_port`` while the context lasts; then drain it.

    Draining refuses publishes and lets consumers empty the queues, at most ``drain_deadline_s``
    and only while a consumer is connected. With empty queues it stops at once. Without ``access``
    every client is allowed. Raises PortTaken.
    """
    keep_freed_memory()
    async with _durability(settings) as durable:
        queues = Queues(settings, durable)
        if durable:
            await durable.restore(queues.restored)
            health.add("journal", _journal_readiness(durable))
        consumers = Consumers()
        app = make_app(queues, settings, health, consumers, access, host)
        health.add("broker", _readiness(queues))
        health.add_note("dead letters", queues.surplus)
        async with _served(settings, host, app, queues, consumers, drain_deadline_s) as listener:
            yield listener


@asynccontextmanager
async def _served(
    settings: BrokerSettings,
    host: str,
    app: web.Application,
    queues: Queues,
    consumers: Consumers,
    drain_deadline_s: float,
) -> AsyncIterator[Listener]:
    with metrics_of(queues):
        access = app[ACCESS]
        certificate = access.certificate
        plain = settings.plain_http or certificate is not None or access.log_requests
        connection = None if plain else HotRoutes.of(app).connection
        async with listen(
            app,
            host,
            settings.broker_port,
            "--broker-port",
            patience=_patience(settings),
            connection=connection,
            certificate=certificate,
            open_connections=access.open_connections,
            log_requests=access.log_requests,
        ) as listener:
            try:
                yield listener
            finally:
                await _drain(queues, consumers, drain_deadline_s)


def _patience(settings: BrokerSettings) -> Patience:
    receive_s = settings.receive_timeout_s
    return Patience(
        settings.idle_timeout_s,
        refused_s=receive_s,
        reply_s=receive_s,
        reply_bytes_per_s=LEAST_BYTES_PER_S,
    )


def make_app(
    queues: Queues,
    settings: BrokerSettings,
    health: Health,
    consumers: Consumers,
    access: Access | None = None,
    host: str = "127.0.0.1",
) -> web.Application:
    """The application of a broker that listens on ``host``: every route of ``docs/protocol.md``."""
    access = access or Access()
    names = access.names(host)
    app = web.Application(
        client_max_size=settings.message_max_bytes,
        middlewares=[
            request_metrics("broker"),
            error_middleware,
            site_middleware(names, typed=True),
            access_middleware(access, _scope_of),
        ],
    )
    app.on_response_prepare.append(guard_response)
    app[ACCESS] = access
    app[NAMES] = names
    app[INTAKE], app[REPLIES] = make_intake(settings), make_intake(settings)
    app[HOT] = MessageHandlers(queues, settings, consumers).by_path()
    app.add_routes([web.post(path, route(handler)) for path, handler in app[HOT].items()])
    StatsHandlers(queues, settings).add_to(app)
    AdminHandlers(queues, settings).add_to(app)
    QueueHandlers(queues, settings).add_to(app)
    add_health_routes(app, health)
    return app


def _scope_of(request: web.Request) -> Scope | None:
    return Scope.WRITE if request.path in request.app[HOT] else scope_of_health(request)


def _readiness(queues: Queues) -> Check:
    async def check() -> str | None:
        return "the broker is draining" if queues.closed else None

    return check


def _durability(settings: BrokerSettings) -> AbstractAsyncContextManager[Durability | None]:
    """The durability of ``--journal``; without it, the journal's modules are not imported."""
    if settings.journal is None:
        return nullcontext()
    from gputel.broker.durable.durability import durability

    return durability(settings)


def _journal_readiness(durable: Durability) -> Check:
    async def check() -> str | None:
        return durable.journal.broken or None

    return check


async def _drain(queues: Queues, consumers: Consumers, deadline_s: float) -> None:
    queues.close()
    until = queues.default.now() + deadline_s
    try:
        while consumers.connected():
            busy = [waiting for waiting in queues if not waiting.queue.drained]
            left_s = until - queues.default.now()
            if not busy or left_s <= 0:
                break
            await busy[0].changed(min(left_s, _LOOK_AGAIN_S))
    finally:
        queues.stop()
    message_queues = [waiting.queue for waiting in queues]
    left = sum(queue.ready + queue.delayed + queue.in_flight for queue in message_queues)
    if left:
        log.warning("the broker stopped with %d messages that were not acked", left)
