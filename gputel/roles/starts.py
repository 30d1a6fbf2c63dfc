"""How each role starts and stops: one context manager for each.

A start takes what the roles before it offer, and yields that with what it offers itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gputel import metrics
from gputel.errors import GputelError
from gputel.roles.process import BrokerAddress, Process, Services

if TYPE_CHECKING:
    from gputel.config.settings import Settings
    from gputel.mq.client import QueueClient
    from gputel.store.numbers import StoreNumbers
    from gputel.store.write.admission import Admission

log = logging.getLogger("gputel")


@asynccontextmanager
async def store(process: Process, services: Services) -> AsyncIterator[Services]:
    """Postgres, embedded or the user's, with its schema; offers the pool."""
    from gputel.store.open import open_store
    from gputel.store.pool import problem_of

    async with open_store(process.settings) as pool:
        process.health.add("postgres", partial(problem_of, pool))
        yield replace(services, pool=pool)


@asynccontextmanager
async def broker(process: Process, services: Services) -> AsyncIterator[Services]:
    """The queue behind its HTTP server; offers it unless --broker-url names another."""
    from gputel.broker.server import serve

    settings, access = process.settings, process.access
    async with serve(
        settings.broker,
        settings.common.host,
        process.health,
        drain_deadline_s=settings.common.drain_deadline_s,
        access=access,
    ) as listener:
        log.info("broker listens on %s", listener.url)
        if settings.common.broker_url is None:
            tls = access.certificate.client_context() if access.certificate else None
            own = BrokerAddress(listener.url, access.own_token, tls)
            services = replace(services, broker=own)
        yield services


@asynccontextmanager
async def collector(process: Process, services: Services) -> AsyncIterator[Services]:
    """Workers that consume messages and commit their rows, and the maintenance of the store."""
    from gputel.collector import collector
    from gputel.outage import Outage
    from gputel.store.numbers import StoreNumbers
    from gputel.store.upkeep.maintenance import Maintenance
    from gputel.store.write.writer import Writer

    settings = process.settings
    kept = settings.collector.retention
    writer = Writer(services.database, _admission(settings))
    maintenance = Maintenance(services.database, kept, settings.collector.rollup_retention)
    outage = Outage(collector.log, "the database")
    machine = collector.machine_outage_of()
    async with services.broker.client() as client:

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
        async with (
            _store_metrics(StoreNumbers(services.database)),
            working(process, "collector", run),
        ):
            yield services


@asynccontextmanager
async def streamer(process: Process, services: Services) -> AsyncIterator[Services]:
    """The sources: exporters that are scraped, or a file or the sample, or both."""
    settings = process.settings.streamer
    async with services.broker.client() as client, AsyncExitStack() as sources:
        process.health.add("queue", client.check)
        if settings.scrapes:
            await sources.enter_async_context(_scraping(process, services, client))
        if settings.reads_rows:
            await sources.enter_async_context(_streaming(process, services, client))
        yield services


@asynccontextmanager
async def _streaming(
    process: Process, services: Services, client: QueueClient
) -> AsyncIterator[None]:
    """The file or the sample, whose rows are published in chunks."""
    run = await _file_work(process, services, client)
    async with working(process, "streamer", run):
        yield


async def _file_work(
    process: Process, services: Services, client: QueueClient
) -> Callable[[asyncio.Event], Awaitable[None]]:
    """What ``working`` runs for the file or the sample, once its stream is registered."""
    from gputel.store.write.streams import Streams, deletion_note
    from gputel.streamer.follower import Follower
    from gputel.streamer.open_source import csv_options, open_source
    from gputel.streamer.streamer import Streamer

    settings, keep = process.settings.streamer, process.settings.collector.keep_impossible
    options = csv_options(settings, keep_impossible=keep)
    streams_of = partial(Streams, services.database, owner=process.owner)
    if settings.follow and settings.csv:
        path = settings.csv
        return Follower(path, settings, client, streams_of, options).run
    data_dir = process.settings.common.data_dir
    opened = await asyncio.to_thread(open_source, settings, data_dir, options)
    streams = streams_of(opened.stream_id)
    progress = await streams.register(opened.fingerprint, opened.name, looping=settings.loop)
    if progress.deleted_samples and not settings.loop:
        log.warning("%s: %s", opened.name, deletion_note(progress.deleted_samples))
    rate = f"{settings.rate:g} rows/s" if settings.rate else "no limit"
    log.info("streamer: %s as stream %r, %s", opened.name, opened.stream_id, rate)
    return Streamer(settings, client, streams, opened.source).run


@asynccontextmanager
async def _scraping(
    process: Process, services: Services, client: QueueClient
) -> AsyncIterator[None]:
    """Exporters, and the GPUs of this machine, which are read at fixed intervals."""
    from gputel.store.write.scrapes import Scrapes
    from gputel.streamer.scrape.scraper import Scraper
    from gputel.streamer.scrape.targets import TargetList

    settings = process.settings
    scraper = Scraper(
        TargetList.of(settings.streamer),
        client,
        Scrapes(services.database, process.owner),
        process.owner,
        batch_s=settings.streamer.scrape_batch_s,
        keep_impossible=settings.collector.keep_impossible,
    )
    named = settings.streamer.scrape, settings.streamer.scrape_config
    sources = [str(each) for each in named if each]
    sources += ["the GPUs of this machine"] if settings.streamer.nvml else []
    log.info("streamer: scrapes %s", ", ".join(sources))
    async with working(process, "scraper", scraper.run):
        yield


@asynccontextmanager
async def api(process: Process, services: Services) -> AsyncIterator[Services]:
    """The REST API, PromQL and the push of records."""
    from gputel.api.prometheus.series import cache_bytes
    from gputel.api.push.pusher import Pusher
    from gputel.api.server import serve
    from gputel.store.grants import check_rights
    from gputel.store.read.reader import Reader
    from gputel.store.write.push_keys import PushKeys

    settings = process.settings
    await check_rights(services.database)
    reader = Reader(services.database, cache_bytes(settings.api))
    host, access = settings.common.host, process.access
    admission = _admission(settings)
    keys = PushKeys(services.database)
    async with services.broker.client() as queue:
        pusher = Pusher(queue, keys, settings.api, admission)
        async with serve(settings.api, host, reader, process.health, access, pusher) as listener:
            log.info("api listens on %s (Swagger UI: %s/swagger)", listener.url, listener.url)
            yield services


@asynccontextmanager
async def health(process: Process, services: Services) -> AsyncIterator[Services]:
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
        yield services
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
        log_requests=access.log_requests,
    ) as listener:
        log.info("health listens on %s", listener.url)
        yield services


def _admission(settings: Settings) -> Admission:
    from gputel.store.write.admission import Admission

    rules = settings.collector
    return Admission(rules.retention, rules.future_limit, rules.keep_impossible)


@asynccontextmanager
async def _store_metrics(numbers: StoreNumbers) -> AsyncIterator[None]:
    """Keep the metrics of the store up to date until the context ends."""
    task = asyncio.create_task(numbers.keep())
    try:
        with metrics.STORE.read_from(numbers.read):
            yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


@asynccontextmanager
async def working(
    process: Process, name: str, run: Callable[[asyncio.Event], Awaitable[None]]
) -> AsyncIterator[None]:
    """Run a role's work as a task until the context ends, then drain it within the deadline.

    ``run`` works until the event that it takes is set. An error in it stops the process.
    """
    stopping = asyncio.Event()
    task = asyncio.ensure_future(run(stopping))
    task.add_done_callback(lambda ended: _note_failure(process, ended))
    try:
        yield
    finally:
        stopping.set()
        _, late = await asyncio.wait((task,), timeout=process.remaining_s())
        if late:
            log.warning("%s did not finish within the drain deadline: it hands back its work", name)
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
