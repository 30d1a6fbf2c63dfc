"""One Postgres server as a direct child of this process: made, started, watched, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gputel.config.settings import default_data_dir
from gputel.errors import StoreError
from gputel.owned_files import open_file, opened_directory
from gputel.store.postgres.account import Account, check_reachable, give, server_account
from gputel.store.postgres.binaries import Binaries, find_binaries, runnable
from gputel.store.postgres.cluster import (
    ensure_cluster,
    make_socket_dir,
    read_pid_file,
    reason,
    socket_in,
)
from gputel.store.postgres.process import POLL_S, exited, run, runs_in, spawn

log = logging.getLogger("gputel.store")

_LOG_BYTES = 8 * 1024 * 1024  # of postgres.log, and as much of the one before it
_LOG_EVERY_S = 10.0
_ORPHAN_WAIT_S = 3.0
_STOP_STEPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_MEMORY_IN_USE = "shared memory block"  # processes of a killed server are still ending
_MEMORY_WAIT_S = 20.0
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # A statement may lock each day there is, its index and its rollups: enough for ten years.
    "max_locks_per_transaction": "1024",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
}
_LZ4 = {"wal_compression": "lz4", "default_toast_compression": "lz4"}
_NO_LZ4 = {"wal_compression": "off"}  # built without lz4: pglz costs more time than it saves


class PostgresServer:
    """The server of ``<data_dir>/postgres``; its caller holds the lock of the data directory."""

    def __init__(self, data_dir: Path, bin_dir: Path | None, overrides: dict[str, str]) -> None:
        self.cluster = data_dir / "postgres"
        self.log_path = data_dir / "postgres.log"
        self._data_dir = data_dir
        self._bin_dir = bin_dir
        self._overrides = overrides
        self._socket_dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def reachable(self) -> bool:
        """Whether the child is alive, and nobody has cleaned its socket out of /tmp."""
        alive = self._process is not None and self._process.poll() is None
        return alive and self._socket_dir is not None and socket_in(self._socket_dir).exists()

    async def start(self) -> Path:
        """Start it, and return its socket's directory once it takes connections.

        Makes the cluster on first use. Waits as long as crash recovery takes. Raises StoreError.
        """
        account = server_account(self._data_dir, self.cluster)
        check_reachable(self._data_dir, account)
        found = await asyncio.to_thread(find_binaries, self._bin_dir, self.cluster)
        # Root writes no programs into a user's directory.
        place = self._data_dir if self._data_dir.stat().st_uid == 0 else default_data_dir()
        copies = place / "postgres-bin"
        binaries = await asyncio.to_thread(runnable, found, account, copies)
        await ensure_cluster(self.cluster, binaries, account)
        await self._end_orphan()
        self._socket_dir = make_socket_dir(self._data_dir, account)
        command = await self._command(binaries, account)
        deadline = time.monotonic() + _MEMORY_WAIT_S
        while (failure := await self._try(command, account)) is not None:
            if _MEMORY_IN_USE not in failure or time.monotonic() > deadline:
                raise StoreError(
                    f"the embedded Postgres did not start: {failure}; see {self.log_path}"
                )
            await asyncio.sleep(0.2)
        return self._socket_dir

    async def stop(self) -> None:
        """Stop it: sessions are cut off, what was committed is safe."""
        process = self._process
        for number, wait_s in _STOP_STEPS:
            if process is None or process.poll() is not None:
                break
            process.send_signal(number)
            await exited(process, wait_s)
        self._process = None
        if self._socket_dir is not None:
            with suppress(OSError):
                self._socket_dir.rmdir()

    def trim_log(self) -> None:
        """Keep the log within its bound: what is in it becomes ``postgres.log.1``."""
        try:
            descriptor = open_file(self.log_path, os.O_RDWR)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "r+b") as written:
            status = os.fstat(descriptor)
            if status.st_size <= _LOG_BYTES:
                return
            before = self.log_path.with_name("postgres.log.1")
            before.unlink(missing_ok=True)
            kept = open_file(before, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(kept, "wb") as copy:
                if os.geteuid() == 0:
                    os.fchown(kept, status.st_uid, status.st_gid)
                shutil.copyfileobj(written, copy)
            written.truncate(0)  # the server appends, so it goes on at the start

    async def _command(self, binaries: Binaries, account: Account | None) -> list[str]:
        program, place = str(binaries.bin_dir / "postgres"), ["-D", str(self.cluster)]
        probe = [program, "-C", "wal_compression", *place, *_flags(_LZ4)]
        code, _ = await run(probe, account)
        settings = _SETTINGS | (_LZ4 if code == 0 else _NO_LZ4)
        settings |= {"unix_socket_directories": str(self._socket_dir)} | self._overrides
        return [program, *place, *_flags(settings)]

    async def _try(self, command: list[str], account: Account | None) -> str | None:
        """Start the child and wait until it is ready; why it ended, when it did."""
        self.trim_log()
        descriptor = open_file(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(descriptor, "ab") as output:
            give(descriptor, account)
            offset = output.seek(0, os.SEEK_END)
            self._process = process = spawn(command, account, output)
        shown = time.monotonic()
        while process.poll() is None:
            status = read_pid_file(self.cluster)
            if status is not None and status.pid == process.pid and status.ready:
                return None
            if time.monotonic() - shown > _LOG_EVERY_S:
                shown = time.monotonic()
                log.warning("Postgres is still starting; see %s", self.log_path)
            await asyncio.sleep(POLL_S)
        with os.fdopen(open_file(self.log_path, os.O_RDONLY), "rb") as written:
            written.seek(offset)
            return reason(written.read().decode(errors="replace"))

    async def _end_orphan(self) -> None:
        """See off a server that a killed gputel has left in the cluster, or its stale pid file."""
        status = read_pid_file(self.cluster)
        if status is None:
            return
        gone = await self._left(status.pid, _ORPHAN_WAIT_S)
        for number, wait_s in () if gone else _STOP_STEPS:
            log.warning("stopping Postgres (pid %d), which another gputel has left", status.pid)
            with suppress(ProcessLookupError):
                os.kill(status.pid, number)
            if await self._left(status.pid, wait_s):
                break
        # The server refuses to start when the pid in the file has become another program's.
        if read_pid_file(self.cluster) == status and _lives(status.pid):
            with opened_directory(self.cluster) as directory, suppress(FileNotFoundError):
                os.unlink("postmaster.pid", dir_fd=directory)

    async def _left(self, pid: int, wait_s: float) -> bool:
        deadline = time.monotonic() + wait_s
        while runs_in(pid, self.cluster):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True


def _flags(settings: Mapping[str, str]) -> list[str]:
    return [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
