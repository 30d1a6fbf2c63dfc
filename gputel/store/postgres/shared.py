"""The embedded Postgres: one server for a data directory, shared by all gputels that use it.

    waiting --lock taken--> owner: starts the server, restarts it when it dies, stops it
       |
       +--server ready----> sharer: uses it; takes the lock over when its owner goes away

The lock is an ``flock`` on ``<data_dir>/postgres.lock``, so the kernel drops it with its owner,
whom the server does not outlive either (see ``process``).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from gputel.backoff import Backoff
from gputel.errors import StoreError, StoreUnavailable
from gputel.owned_files import open_file, opened_directory
from gputel.store.postgres.cluster import answers, dsn_of, read_pid_file
from gputel.store.postgres.server import PostgresServer

log = logging.getLogger("gputel.store")

_JOIN_POLL_S = 0.02
_JOIN_WAIT_S = 120.0
_WATCH_S = 0.25
_TRIM_EVERY_S = 10.0
_FIRST_PAUSE_S = 0.1
_NUMBER = re.compile(r"\d+")  # of a process, in the name of a file: the failure is the same
_LONGEST_PAUSE_S = 5.0


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path, bin_dir: Path | None = None, overrides: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """The DSN of the data directory's server, started by us or by another gputel.

    Enter it on the main thread. On leaving, the server is stopped if it is ours; another gputel
    that still uses it starts it again within a second. ``overrides`` are server settings in place
    of gputel's, for tests. Raises StoreError, saying what to do.
    """
    server = EmbeddedPostgres(data_dir, bin_dir, overrides)
    try:
        yield await server.start()
    finally:
        await server.stop()


def check_made(data_dir: Path) -> None:
    """Raise StoreError when no database was ever made in the data directory."""
    with _directory_errors(data_dir):
        made = (data_dir / "postgres" / "PG_VERSION").exists()
    if not made:
        raise StoreError(
            f"--data-dir: no gputel database is in {data_dir}: check the path, or make one there "
            "with `gputel run` or `gputel ingest FILE`"
        )


def running_dsn(data_dir: Path) -> str:
    """The DSN of the server that runs for the data directory; StoreError when none does."""
    data_dir = data_dir.resolve()
    check_made(data_dir)
    with _directory_errors(data_dir):
        status = read_pid_file(data_dir / "postgres")
    if status is None or not status.ready or not answers(status.socket_dir):
        raise StoreError(
            f"no gputel runs its embedded Postgres in {data_dir}: start one there "
            "(gputel run --data-dir ...), or name another --data-dir"
        )
    return dsn_of(status.socket_dir)


class EmbeddedPostgres:
    """A process's part in the one server of ``data_dir``; see embedded_postgres."""

    def __init__(
        self,
        data_dir: Path,
        bin_dir: Path | None = None,
        overrides: dict[str, str] | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._bin_dir = bin_dir
        self._overrides = overrides or {}
        self._lock: _Lock | None = None
        self._server: PostgresServer | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def owner(self) -> bool:
        """Whether the server is a child of this process."""
        return self._server is not None

    async def start(self) -> str:
        """Start the server, or join the one that runs; its DSN once it takes connections."""
        with _directory_errors(self._data_dir):
            _make_data_dir(self._data_dir)
            self._data_dir = self._data_dir.resolve()
            self._lock = _Lock(self._data_dir / "postgres.lock")
            dsn = await self._own_or_join(self._lock)
        self._watcher = asyncio.create_task(self._watch(self._lock), name="embedded-postgres")
        return dsn

    async def stop(self) -> None:
        """Leave the server: stop it if it is ours, then let go of the lock."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        try:
            if self._server is not None:
                await self._server.stop()
        finally:
            self._server = None
            if self._lock is not None:
                self._lock.close()

    async def _own_or_join(self, lock: _Lock) -> str:
        deadline = time.monotonic() + _JOIN_WAIT_S
        while not lock.take():
            with suppress(StoreError):
                return running_dsn(self._data_dir)
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another gputel (pid {lock.holder()}) holds {lock.path}, but its Postgres "
                    f"has not become ready in {_JOIN_WAIT_S:g} s: see postgres.log beside it"
                )
            await asyncio.sleep(_JOIN_POLL_S)
        return dsn_of(await self._start_server())

    async def _start_server(self) -> Path:
        if self._server is None:
            self._server = PostgresServer(self._data_dir, self._bin_dir, self._overrides)
        return await self._server.start()

    async def _watch(self, lock: _Lock) -> None:
        """Restart our server when it dies; take over when its owner goes away."""
        backoff, trimmed = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S), time.monotonic()
        failure = ""  # why it could not be started again
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                if self._server is None:
                    await self._take_over(lock)
                elif not self._server.reachable:
                    if not failure:
                        log.error(
                            "the embedded Postgres has died, or its socket: starting it again"
                        )
                    await asyncio.sleep(backoff.next_s())
                    await self._server.stop()
                    await self._start_server()
                    log.info("the embedded Postgres is back")
                    failure = ""
                elif time.monotonic() - trimmed > _TRIM_EVERY_S:
                    backoff.reset()
                    trimmed = time.monotonic()
                    self._server.trim_log()
            except (StoreError, OSError) as error:
                before, failure = failure, _NUMBER.sub("", str(error))
                if failure != before:
                    log.error("trying again until it starts: %s", error)  # noqa: TRY400

    async def _take_over(self, lock: _Lock) -> None:
        if lock.take():
            log.info("the gputel that ran the embedded Postgres has gone: starting it here")
            await self._start_server()


class _Lock:
    """An exclusive lock on a file, which names its holder for people; not waited for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        if os.geteuid() == 0:  # a user's data directory stays that user's
            directory = path.parent.stat()
            os.fchown(self._descriptor, directory.st_uid, directory.st_gid)

    def take(self) -> bool:
        """Take the lock unless another process holds it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def holder(self) -> str:
        """The process that took the lock last."""
        return os.pread(self._descriptor, 32, 0).decode().strip() or "unknown"

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def _make_data_dir(data_dir: Path) -> None:
    """Make it and what is missing above; as root, so that Postgres's user can enter."""
    missing = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            with opened_directory(path) as made:
                if os.fstat(made).st_uid == 0:
                    os.fchmod(made, 0o755)


@contextmanager
def _directory_errors(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"cannot keep the embedded Postgres in {data_dir}: {error.strerror}{place}; make it "
            "a directory that this user can write, free space there, or choose another with "
            "--data-dir"
        ) from error
