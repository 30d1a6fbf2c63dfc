"""The registry of roles: what each needs, what it comes after, how it starts.

Data, not branches: ``all`` is a role with needs and no code. A role ``needs`` others (they are
started with it) and comes ``after`` others (order only, when both run). Roles stop in reverse.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from gputel.config.settings import Settings
from gputel.errors import GputelError, UsageError
from gputel.web.server.exposure import check_exposed
from gputel.web.server.ports import check_ports

if TYPE_CHECKING:
    import asyncpg

    from gputel.mq.client import QueueClient
    from gputel.web.access.access import Access
    from gputel.web.health import Health

log = logging.getLogger("gputel")

_KEPT_FILES = 192  # for Postgres, sources, journal and brokers, whatever the servers' crowd


@dataclass
class Process:
    """What the roles of one process share."""

    settings: Settings
    broker_url: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: bool = False
    failure: BaseException | None = None
    stop_deadline: float | None = None
    pool: asyncpg.Pool | None = None
    own_broker: bool = False
    owner: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    )

    @cached_property
    def health(self) -> Health:
        """What makes the process ready, by name."""
        from gputel.web.health import Health

        return Health()

    @cached_property
    def access(self) -> Access:
        """Whom its servers let in. Raises ConfigError for tokens that are wrong."""
        from gputel.web.access.access import Access

        kept_files = _KEPT_FILES + self.settings.postgres.postgres_pool_size
        return Access.of(self.settings.access, kept_files)

    def check(self) -> None:
        """Read the files that its servers need, before anything starts. Raises ConfigError."""
        _ = self.access

    def queue_client(self) -> QueueClient:
        """A client of the broker that this process uses, with what that wants to be shown."""
        from gputel.mq.connect import connect

        if not self.own_broker:
            return connect(self.broker_url, token=self.settings.common.token)
        certificate = self.access.certificate
        tls = certificate.client_context() if certificate else None
        return connect(self.broker_url, token=self.access.own_token, tls=tls)

    @property
    def database(self) -> asyncpg.Pool:
        """The pool that the store role opened."""
        assert self.pool is not None, "a role that uses the database needs the store"
        return self.pool

    def remaining_s(self) -> float:
        """Seconds left of the drain deadline, which starts with the stop."""
        deadline_s = self.settings.common.drain_deadline_s
        if self.stop_deadline is None:
            return deadline_s
        return max(0.0, self.stop_deadline - asyncio.get_running_loop().time())

    def fail(self, failure: BaseException) -> None:
        """Stop the process because of an error in the work of a role."""
        self.failure = self.failure or failure
        self.stopping.set()


Start = Callable[[Process], AbstractAsyncContextManager[object]]


@dataclass(frozen=True)
class Role:
    """One role: its name, what it does, and how it stands to the others.

    ``modules`` are what its start imports: they are imported while the roles before it start.
    ``port`` is the setting of the port that it listens on, with its component.
    """

    name: str
    summary: str
    start: Start | None = None
    needs: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    internal: bool = False
    modules: tuple[str, ...] = ()
    port: tuple[str, str] | None = None


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


@asynccontextmanager
async def _store(process: Process) -> AsyncIterator[None]:
    from gputel.store.open import open_store
    from gputel.store.read.reader import Reader

    async with open_store(process.settings) as pool:
        process.pool = pool
        process.health.add("postgres", Reader(pool).check)
        yield


@asynccontextmanager
async def _broker(process: Process) -> AsyncIterator[None]:
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
async def _collector(process: Process) -> AsyncIterator[None]:
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
async def _streamer(process: Process) -> AsyncIterator[None]:
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
async def _api(process: Process) -> AsyncIterator[None]:
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
async def _health(process: Process) -> AsyncIterator[None]:
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


_ALL = (
    Role(
        "health",
        "health and metrics of a process without a server",
        _health,
        internal=True,
        port=("common", "health_port"),
    ),
    Role("store", "Postgres: yours or the embedded one, migrated", _store, internal=True),
    Role(
        "broker",
        "the message queue and its HTTP server",
        _broker,
        after=frozenset({"store"}),
        modules=("gputel.broker.server",),
        port=("broker", "broker_port"),
    ),
    Role(
        "streamer",
        "reads a source and publishes its rows in chunks",
        _streamer,
        needs=frozenset({"store", "health"}),
        after=frozenset({"broker", "collector"}),
        modules=("gputel.streamer.open_source", "gputel.streamer.streamer"),
    ),
    Role(
        "collector",
        "consumes messages and commits their rows",
        _collector,
        needs=frozenset({"store", "health"}),
        after=frozenset({"broker"}),
        modules=("gputel.store.write.writer", "gputel.collector.collector"),
    ),
    Role(
        "api",
        "answers questions over HTTP",
        _api,
        needs=frozenset({"store"}),
        after=frozenset({"broker", "collector", "streamer"}),
        modules=("gputel.api.server",),
        port=("api", "api_port"),
    ),
    Role(
        "all",
        "the whole pipeline in one process",
        needs=frozenset({"broker", "collector", "streamer", "api"}),
    ),
)
ROLES: dict[str, Role] = {role.name: role for role in _ALL}
SELECTABLE = [role.name for role in _ALL if not role.internal]


def parse_roles(given: Iterable[str]) -> list[str]:
    """Role names from repeated or comma-separated text. Raises UsageError naming a wrong one."""
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SELECTABLE:
            raise UsageError(
                f"--role: there is no role {name!r}; choose from {', '.join(SELECTABLE)}"
            )
    if not names:
        raise UsageError(f"--role: name at least one of {', '.join(SELECTABLE)}")
    return list(dict.fromkeys(names))


async def check_ports_of(roles: Iterable[Role], settings: Settings) -> None:
    """Raise now what would keep one of the roles from listening on its port later.

    PortTaken, UsageError, or ConfigError where its port would be open to everyone.
    """
    ports = {}
    for role in roles:
        if role.port:
            component, name = role.port
            port = getattr(getattr(settings, component), name)
            if port is not None:
                ports["--" + name.replace("_", "-")] = port
    await check_ports(settings.common.host, ports)
    check_exposed(settings.common.host, settings.access, list(ports))


def in_start_order(names: Iterable[str]) -> list[Role]:
    """The roles named and all that they need, each after what it needs or comes after."""
    wanted, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += ROLES[name].needs
    graph = {name: (ROLES[name].needs | ROLES[name].after) & wanted for name in sorted(wanted)}
    return [ROLES[name] for name in TopologicalSorter(graph).static_order()]
