"""The broker as a whole: queue, routes and listener; start, drain, stop."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gputel.broker.admin import AdminHandlers
from gputel.broker.consumers import Consumers
from gputel.broker.consuming import ConsumeHandler
from gputel.broker.handlers import MessageHandlers
from gputel.broker.queue_metrics import gauges_of
from gputel.broker.waiting_queue import WaitingQueue
from gputel.config import BrokerSettings
from gputel.mq.queue import MessageQueue, QueueLimits
from gputel.web.errors import error_middleware
from gputel.web.health import Check, Health, add_health_routes
from gputel.web.listener import Listener, listen
from gputel.web.request_metrics import request_metrics

log = logging.getLogger("gputel.broker")

_LOOK_AGAIN_S = 0.2


@asynccontextmanager
async def serve(
    settings: BrokerSettings, host: str, health: Health, *, drain_deadline_s: float
) -> AsyncIterator[Listener]:
    """Run a broker on ``settings.broker_port`` until the context ends; then drain it.

    Draining refuses publishes and lets consumers empty the queue, for ``drain_deadline_s`` at
    most and only while a consumer is connected. An empty queue stops at once. Raises PortTaken.
    """
    waiting = WaitingQueue(make_queue(settings))
    consumers = Consumers()
    app = make_app(waiting, settings, health, consumers)
    health.add("broker", _readiness(waiting))
    with gauges_of(waiting):
        async with listen(app, host, settings.broker_port, "--broker-port") as listener:
            try:
                yield listener
            finally:
                await _drain(waiting, consumers, drain_deadline_s)


def make_queue(settings: BrokerSettings) -> MessageQueue:
    """An empty queue within the settings' bounds."""
    limits = QueueLimits(
        max_messages=settings.queue_max_messages,
        max_bytes=settings.queue_max_bytes,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_attempts=settings.max_attempts,
    )
    return MessageQueue(limits, lease_prefix=secrets.token_hex(6) + "-")


def make_app(
    waiting: WaitingQueue, settings: BrokerSettings, health: Health, consumers: Consumers
) -> web.Application:
    """The application: every route of ``docs/protocol.md``."""
    app = web.Application(
        client_max_size=settings.message_max_bytes,
        middlewares=[request_metrics("broker"), error_middleware],
    )
    MessageHandlers(waiting, settings, consumers).add_to(app)
    ConsumeHandler(waiting, settings, consumers).add_to(app)
    AdminHandlers(waiting, settings).add_to(app)
    add_health_routes(app, health)
    return app


def _readiness(waiting: WaitingQueue) -> Check:
    async def check() -> str | None:
        return "the broker is draining" if waiting.queue.closed else None

    return check


async def _drain(waiting: WaitingQueue, consumers: Consumers, deadline_s: float) -> None:
    waiting.close()
    until = waiting.now() + deadline_s
    try:
        while not waiting.queue.drained and consumers.connected():
            left_s = until - waiting.now()
            if left_s <= 0:
                break
            await waiting.changed(min(left_s, _LOOK_AGAIN_S))
    finally:
        waiting.stop()
    left = waiting.queue.ready + waiting.queue.delayed + waiting.queue.in_flight
    if left:
        log.warning("the broker stopped with %d messages that nobody acked", left)
