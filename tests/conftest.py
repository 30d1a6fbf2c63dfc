"""Fixtures for all tests: a real Postgres, and a fresh database of it for each test."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from gputel.config.settings import PostgresSettings
from gputel.mq.client import http as wire
from gputel.runtime import loop_factory
from gputel.store.migrations import migrate
from gputel.store.pool import close_pool, open_pool
from gputel.store.postgres.shared import embedded_postgres
from tests.helpers.processes import free_port

_TEMPLATE = "gputel_template"
_MOST_WORKERS = 16
_LEFT_S = 3600
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 2 * 1024**3  # a cluster takes some 200 MB, and each worker of xdist has one
_SMALL_WAL = {"min_wal_size": "32MB", "max_wal_size": "64MB"}
_numbers = itertools.count(1)

# aiohttp reads the authorities of the system twice when it is imported, a sixth of the start of
# each gputel. No test asks a server that one of them vouches for.
os.environ.setdefault("SSL_CERT_FILE", os.devnull)

# How long an example takes says nothing on a machine that has much else to do.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the event loop that gputel runs on."""
    return {"gputel": loop_factory()}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each processor, as tests wait about half of their time; each has its own cluster."""
    return min(2 * (os.cpu_count() or 1), _MOST_WORKERS)


@pytest.fixture(autouse=True)
def no_fault_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What gputel, aiohttp or the event loop did not foresee is a bug, whatever else goes well."""
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    faults = [record for record in records if record.levelno >= logging.ERROR and record.exc_info]
    assert not faults, "\n".join(map(logging.Formatter().format, faults))


@pytest.fixture
def unused_tcp_port() -> int:
    """A free port, as ``free_port`` gives it: pytest's own may be taken by any connection."""
    return free_port()


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker in the same, busy process may take long to accept a connection."""
    monkeypatch.setattr(wire, "_CONNECT_TIMEOUT_S", 60.0)


@pytest.fixture(scope="session")
def open_dir() -> Iterator[Path]:
    """A directory that every user can enter, which pytest's own, when root's, is not."""
    with _open_dir_in(Path("/tmp")) as path:
        yield path


@contextmanager
def _open_dir_in(parent: Path) -> Iterator[Path]:
    _remove_left_in(parent)
    path = Path(tempfile.mkdtemp(prefix=f"gputel-test-{os.getpid()}-", dir=parent))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def data_dir(open_dir: Path) -> Path:
    """A place for a data directory of the test's own; not made yet."""
    return open_dir / f"data-{next(_numbers)}"


def _remove_left_in(parent: Path) -> None:
    """Delete what test runs that were killed have left, an hour ago or earlier."""
    for path in parent.glob("gputel-test-*-*"):
        with suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime < _LEFT_S:
                continue
            try:
                os.kill(int(path.name.split("-")[2]), 0)
            except ProcessLookupError:
                shutil.rmtree(path, ignore_errors=True)


def _cluster_parent() -> Path:
    """Where a new database takes a tenth of the time: in memory, where there is enough of it."""
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return Path("/tmp")
    fits = found.f_bavail * found.f_frsize >= _MEMORY_BYTES and os.access(_MEMORY, os.W_OK)
    return _MEMORY if fits and not found.f_flag & os.ST_NOEXEC else Path("/tmp")


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """One Postgres for all tests of this process, of the release in TEST_POSTGRES_BIN_DIR if set.

    With TEST_POSTGRES_PRELOAD=timescaledb, and binaries that have it, blocks are in hypertables.
    """
    with _open_dir_in(_cluster_parent()) as directory:
        yield from _server(directory)


def _server(directory: Path) -> Iterator[str]:
    bin_dir = os.environ.get("TEST_POSTGRES_BIN_DIR")
    quick = {"fsync": "off", "full_page_writes": "off", **_SMALL_WAL}
    if preload := os.environ.get("TEST_POSTGRES_PRELOAD"):
        # Workers would hold the template that the tests' databases are copied from.
        quick |= {"shared_preload_libraries": preload, "timescaledb.max_background_workers": "0"}
    server = embedded_postgres(directory / "session", Path(bin_dir) if bin_dir else None, quick)
    # A loop of its own, which rests while tests run in theirs: the server is our child all along.
    loop = asyncio.new_event_loop()
    dsn = loop.run_until_complete(server.__aenter__())
    try:
        loop.run_until_complete(_make_template(dsn))
        yield dsn
    finally:
        loop.run_until_complete(server.__aexit__(None, None, None))
        loop.close()


@pytest.fixture
async def empty_dsn(server_dsn: str) -> AsyncIterator[str]:
    """A database of the test's own with nothing in it."""
    async for dsn in _database(server_dsn, "template0"):
        yield dsn


@pytest.fixture
async def dsn(server_dsn: str) -> AsyncIterator[str]:
    """A database of the test's own with the present schema."""
    async for dsn in _database(server_dsn, _TEMPLATE):
        yield dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the test's own database."""
    pool = await open_pool(dsn, PostgresSettings())
    yield pool
    await close_pool(pool)


async def _database(server_dsn: str, template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await _execute(server_dsn, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield _named(server_dsn, name)
    finally:
        await _execute(server_dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def _make_template(server_dsn: str) -> None:
    await _execute(server_dsn, f"CREATE DATABASE {_TEMPLATE}")
    await migrate(_named(server_dsn, _TEMPLATE))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _named(dsn: str, database: str) -> str:
    return dsn.replace("@/gputel?", f"@/{database}?")
