"""How each role starts, and what it does until the process stops: one context manager for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gputel.errors import GputelError
from gputel.roles.process import Process

log = logging.getLogger("gputel")


@asynccontextmanager
async def store(process: Process) -> AsyncIterator[None]:
    """Postgres, ours or theirs, with its schema; gives the pool to the process."""
    from gputel.store.open import open_store
    from gputel.store.read.reader import Reader

    async with open_store(process.settings) as pool:
        process.pool = pool
        process.health.add("postgres", Reader(pool).check)
        yield


@asynccontextmanager
async def broker(process: Process) -> AsyncIterator[None]:
    """The queue behind its HTTP server."""
    from gputel.broker.server import serve

    settings = process.settings
    async with serve(
        settings.broker,
        settings.common.host,
        process.health,
        drain_deadline_s=settings.common.drain_deadline_s,
        access=process.access,
    ) as listener:
        if settings.common.broker_url is None:
            process.broker_url, process.own_broker = listener.url, True
        log.info("broker listens on %s", listener.url)
        yield


@asynccontextmanager
async def collector(process: Process) -> AsyncIterator[None]:
    """Workers that consume and commit, and the upkeep of the store."""
    from gputel.collector import collector
    from gputel.outage import Outage
    from gputel.store.upkeep.maintenance import Maintenance
    from gputel.store.write.admission import Admission
    from gputel.store.write.writer import Writer

    settings = process.settings
    kept = settings.collector.retention
    writer = Writer(process.database, Admission(kept, settings.collector.future_limit))
    maintenance = Maintenance(process.database, kept, settings.collector.rollup_retention)
    outage = Outage(collector.log, "the database")
    machine = collector.machine_outage_of()
    async with process.queue_client() as client:

        async def run(stopping: asyncio.Event) -> None:
            timeout_s = settings.broker.visibility_timeout_s
            await collector.collect(
                settings.collector,
                timeout_s,
                client,
                writer,
                maintenance,
                stopping,
                outage,
                machine,
            )

        process.health.add("queue", client.check)
        process.health.add("landing", outage.check)
        process.health.add("machine", machine.check)
        log.info("collector: %d workers consume from %s", settings.collector.workers, client.url)
        async with working(process, "collector", run):
            yield


@asynccontextmanager
async def streamer(process: Process) -> AsyncIterator[None]:
    """The source, published in chunks."""
    from gputel.store.write.streams import Streams
    from gputel.streamer.open_source import open_source
    from gputel.streamer.streamer import Streamer

    settings = process.settings
    opened = await asyncio.to_thread(open_source, settings.streamer, settings.common.data_dir)
    streams = Streams(process.database, opened.stream_id, process.owner)
    await streams.register(opened.fingerprint, str(opened.path), looping=settings.streamer.loop)
    rate = f"{settings.streamer.rate:g} rows/s" if settings.streamer.rate else "no limit"
    async with process.queue_client() as client:
        streamer = Streamer(settings.streamer, client, streams, opened.source)
        process.health.add("queue", client.check)
        log.info("streamer: %s as stream %r, %s", opened.path, opened.stream_id, rate)
        async with working(process, "streamer", streamer.run):
            yield


@asynccontextmanager
async def api(process: Process) -> AsyncIterator[None]:
    """The REST API, PromQL and the push of records."""
    from gputel.api.prometheus.series import cache_bytes
    from gputel.api.push.pusher import Pusher
    from gputel.api.server import serve
    from gputel.store.grants import check_rights
    from gputel.store.read.reader import Reader
    from gputel.store.write.admission import Admission
    from gputel.store.write.push_keys import PushKeys

    settings = process.settings
    await check_rights(process.database)
    reader = Reader(process.database, cache_bytes(settings.api))
    host, access = settings.common.host, process.access
    admission = Admission(settings.collector.retention, settings.collector.future_limit)
    keys = PushKeys(process.database)
    async with process.queue_client() as queue:
        pusher = Pusher(queue, keys, settings.api, admission)
        async with serve(settings.api, host, reader, process.health, access, pusher) as listener:
            log.info("api listens on %s (Swagger UI: %s/swagger)", listener.url, listener.url)
            yield


@asynccontextmanager
async def health(process: Process) -> AsyncIterator[None]:
    """Health and metrics of a process that runs no server."""
    from aiohttp import web

    from gputel.web.access.access import access_middleware, scope_of_health
    from gputel.web.access.site import site_middleware
    from gputel.web.errors import error_middleware
    from gputel.web.headers.added import guard_response
    from gputel.web.health import add_health_routes
    from gputel.web.server.listener import listen

    settings = process.settings.common
    if settings.health_port is None:
        yield
        return
    site = site_middleware(process.access.names(settings.host))
    guard = access_middleware(process.access, scope_of_health)
    app = web.Application(middlewares=[error_middleware, site, guard])
    app.on_response_prepare.append(guard_response)
    add_health_routes(app, process.health)
    access, port = process.access, settings.health_port
    async with listen(
        app,
        settings.host,
        port,
        "--health-port",
        certificate=access.certificate,
        open_connections=access.open_connections,
    ) as listener:
        log.info("health listens on %s", listener.url)
        yield


@asynccontextmanager
async def working(
    process: Process, name: str, run: Callable[[asyncio.Event], Awaitable[None]]
) -> AsyncIterator[None]:
    """Run a role's work as a task until the context ends, then drain it within the deadline.

    ``run`` works until the event that it is given is set. An error in it stops the process.
    """
    stopping = asyncio.Event()
    task = asyncio.ensure_future(run(stopping))
    task.add_done_callback(lambda done: _note_failure(process, done))
    try:
        yield
    finally:
        stopping.set()
        _, late = await asyncio.wait((task,), timeout=process.remaining_s())
        if late:
            log.warning("%s did not finish within the drain deadline: handing back", name)
            task.cancel()
            await asyncio.wait((task,))


def _note_failure(process: Process, task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        process.fail(_innermost(error))


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = next(
            (e for e in error.exceptions if isinstance(e, GputelError)), error.exceptions[0]
        )
    return error
