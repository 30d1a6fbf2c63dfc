"""Documentation of ``/healthz``, ``/readyz`` and ``/metrics``, which every role serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from gputel.api.shared.documented import answer, errors, operation
from gputel.api.shared.schemas import HealthSchema, ReadinessSchema
from gputel.web.health import Health, add_health_routes

Handler = Callable[..., Any]


def add_service_routes(app: web.Application, health: Health) -> None:
    """Add the three routes with their documentation. Each application has handlers of its own."""
    add_health_routes(app, health)
    document = {"/healthz": _healthz, "/readyz": _readyz, "/metrics": _metrics}
    for route in app.router.routes():
        if route.resource is not None and route.method != "HEAD":
            decorate = document.get(route.resource.canonical)
            if decorate is not None:
                decorate(route.handler)


def _healthz(handler: Handler) -> None:
    operation("get_health", "service", "Is it alive?", "Answers as long as the process runs.")(
        handler
    )
    answer(HealthSchema(), 200, "It runs.")(handler)
    errors()(handler)


def _readyz(handler: Handler) -> None:
    operation(
        "get_readiness",
        "service",
        "Is it ready?",
        "Whether the process can do its work, and what is wrong if it cannot.",
    )(handler)
    answer(ReadinessSchema(), 200, "It is ready.")(handler)
    answer(ReadinessSchema(), 503, "It is not ready, and why.")(handler)
    errors()(handler)


def _metrics(handler: Handler) -> None:
    operation(
        "get_metrics",
        "service",
        "gputel's own metrics",
        "Counters and durations of this process in Prometheus' text format.",
        produces="text/plain",
    )(handler)
    answer({"type": "string"}, 200, "The metrics.")(handler)
    errors()(handler)
