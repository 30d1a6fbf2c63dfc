"""The API as an aiohttp application: its routes and its middlewares."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web
from aiohttp_apispec import validation_middleware

from gputel.api.inventory.gpus import get_gpu, list_gpus
from gputel.api.inventory.hosts import list_host_gpus, list_hosts
from gputel.api.inventory.metrics import list_metrics
from gputel.api.inventory.targets import list_targets
from gputel.api.openapi import build_document
from gputel.api.pages import DOCUMENT, add_page_routes
from gputel.api.prometheus.endpoints import PROMETHEUS, Prometheus
from gputel.api.prometheus.refusals import prometheus_refusals
from gputel.api.prometheus.routes import add_prometheus_routes
from gputel.api.push.handler import push_telemetry
from gputel.api.push.pusher import PUSHER, Pusher
from gputel.api.push.senders.otlp import OTLP_EXPORTS, OtlpExports, export_metrics
from gputel.api.push.senders.otlp_answers import otlp_refusals
from gputel.api.push.senders.remote_write import REMOTE_WRITES, RemoteWrites, remote_write
from gputel.api.service import add_service_routes
from gputel.api.shared.access import scope_of_request
from gputel.api.shared.keys import LIMITS, READER, VIEWS
from gputel.api.shared.parser import Parser
from gputel.api.shared.paths import NEVER_429, OTLP_PATHS, WRITE_PATH
from gputel.api.shared.time_limit import lift_time_limit, time_limit_middleware
from gputel.api.stream.handler import stream_telemetry
from gputel.api.stream.tail import TAIL, Tail
from gputel.api.telemetry.handlers import list_gpu_telemetry, list_telemetry
from gputel.api.telemetry.latest import list_latest_telemetry
from gputel.api.telemetry.top import list_top
from gputel.config.settings import ApiSettings
from gputel.store.head.head import Head
from gputel.store.limits import limits_of
from gputel.store.read.reader import Reader
from gputel.store.read.view import StoredViews
from gputel.web.access.access import ACCESS, Access, access_middleware
from gputel.web.access.site import IsAllowedOrigin, site_middleware
from gputel.web.access.throttle import Throttle, throttle_middleware
from gputel.web.access.tokens import Scope
from gputel.web.base_path import BASE_PATH
from gputel.web.errors import error_middleware
from gputel.web.headers.added import guard_response, set_headers
from gputel.web.headers.cors import ANY, allowed_origins, cors_middleware
from gputel.web.health import Health
from gputel.web.request_metrics import request_metrics

_CLOSE_S = 2.0  # that a task may take to end


def build_app(
    reader: Reader | None,
    health: Health,
    settings: ApiSettings | None = None,
    access: Access | None = None,
    pusher: Pusher | None = None,
    host: str = "127.0.0.1",
) -> web.Application:
    """Make the application, which is served on the address ``host``.

    Without a reader it can only describe itself, which is enough for ``gputel openapi``. Without a
    pusher it takes no records.
    """
    settings = settings or ApiSettings()
    throttle = Throttle(settings.rate_limit, settings.rate_burst, settings.concurrency_limit)
    access = access or Access()
    app = web.Application(
        middlewares=[
            request_metrics("api"),
            cors_middleware(allowed_origins(settings)),
            error_middleware,
            prometheus_refusals,
            otlp_refusals,
            site_middleware(access.names(host), _cross_origin(settings, access)),
            access_middleware(access, scope_of_request),
            throttle_middleware(throttle, scope_of_request, NEVER_429),
            validation_middleware,
            time_limit_middleware(settings.query_timeout_s),
        ]
    )
    app.on_response_prepare.append(set_headers)
    app.on_response_prepare.append(guard_response)
    app.on_response_prepare.append(lift_time_limit)
    # aiohttp_apispec.validation_middleware reads these two keys.
    app["_apispec_parser"] = Parser()
    app["_apispec_request_data_name"] = "data"
    app[ACCESS] = access
    app[BASE_PATH] = (settings.base_path or "").rstrip("/")
    app[LIMITS] = limits_of(settings)
    if reader is not None:
        app[READER] = reader
        app[VIEWS] = _head(app, reader, settings, health) or StoredViews(reader)
        app[PROMETHEUS] = Prometheus(reader, settings, app[VIEWS])
        app[TAIL] = Tail(reader, settings)
        app.on_shutdown.append(_end_streams)
    if pusher is not None:
        app[PUSHER] = pusher
        app[REMOTE_WRITES] = RemoteWrites(pusher)
        app[OTLP_EXPORTS] = OtlpExports(pusher)
    # Names may contain braces. Without a pattern of ours, aiohttp accepts none.
    app.router.add_get("/api/v1/gpus", list_gpus)
    app.router.add_get("/api/v1/gpus/{uuid:[^/]+}", get_gpu)
    app.router.add_get("/api/v1/gpus/{uuid:[^/]+}/telemetry", list_gpu_telemetry)
    app.router.add_get("/api/v1/telemetry", list_telemetry)
    app.router.add_get("/api/v1/telemetry/latest", list_latest_telemetry)
    app.router.add_get("/api/v1/telemetry/top", list_top)
    app.router.add_get("/api/v1/stream", stream_telemetry)
    app.router.add_get("/api/v1/hosts", list_hosts)
    app.router.add_get("/api/v1/hosts/{hostname:[^/]+}/gpus", list_host_gpus)
    app.router.add_get("/api/v1/metrics", list_metrics)
    app.router.add_get("/api/v1/targets", list_targets)
    app.router.add_post("/api/v1/telemetry", push_telemetry)
    app.router.add_post(WRITE_PATH, remote_write)
    for path in OTLP_PATHS:
        app.router.add_post(path, export_metrics(path))
    add_prometheus_routes(app)
    add_service_routes(app, health)
    add_page_routes(app)
    guarded = None if reader is None else access.guarded
    document: Callable[[], dict[str, Any]] = functools.cache(lambda: build_document(app, guarded))
    app[DOCUMENT] = document
    return app


def _cross_origin(settings: ApiSettings, access: Access) -> IsAllowedOrigin:
    """Which origins may send other methods than GET, according to ``--cors-origins``.

    An origin in the list may. If the list has ``*``, every origin may send requests that only
    read; if the server needs a token, it may send all requests.
    """
    origins = allowed_origins(settings)

    def is_allowed(request: web.Request, origin: str) -> bool:
        if origin in origins:
            return True
        return ANY in origins and (access.guarded or scope_of_request(request) is Scope.READ)

    return is_allowed


def _head(
    app: web.Application, reader: Reader, settings: ApiSettings, health: Health
) -> Head | None:
    """The newest samples in memory, which are kept up to date while the application runs."""
    if not settings.head_window:
        return None
    head = Head(reader, settings.head_window, settings.head_max_bytes)

    health.add_note("head", head.note)

    async def keep_up_to_date(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(head.run())
        yield
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_S)

    app.cleanup_ctx.append(keep_up_to_date)
    return head


async def _end_streams(app: web.Application) -> None:
    await app[TAIL].close()
