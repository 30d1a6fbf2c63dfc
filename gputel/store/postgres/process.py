"""Children of ours that run Postgres programs: they die with us, and Ctrl-C does not reach them."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO

from gputel.errors import StoreError
from gputel.store.postgres.account import Account
from gputel.store.postgres.environment import clean_environment

POLL_S = 0.01
_LINUX: bool = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1  # prctl(2)
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def spawn(
    command: Sequence[str | Path],
    account: Account | None,
    output: int | IO[bytes],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    variables: Mapping[str, str] = _NO_VARIABLES,
) -> subprocess.Popen[bytes]:
    """Start a child as the account, in a session of its own, with all it prints in ``output``.

    Its environment is the clean one of Postgres' programs, with ``variables`` besides.

    On Linux it gets SIGINT when this process dies. Must be called on the main thread, because the
    kernel sends that signal when the thread that started the child ends. Raises StoreError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("the embedded Postgres must be started from the main thread")
    options = {} if account is None else account.popen_options
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads; the hook below takes no lock of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            return subprocess.Popen(  # noqa: S603 - the programs come from find_binaries
                command,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=clean_environment() | dict(variables),
                start_new_session=True,
                preexec_fn=_die_with_parent(),
                **options,
            )
    except (OSError, subprocess.SubprocessError) as error:
        who = "" if account is None else f" as the user {account.name}"
        raise StoreError(f"cannot run {command[0]}{who}: {error}") from error


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the program; everything it needs is made beforehand."""
    if not _LINUX:
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    arguments = (_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    parent, getppid, leave = os.getpid(), os.getppid, os._exit

    def prepare() -> None:
        prctl(*arguments)
        if getppid() != parent:  # it died before the line above
            leave(1)

    return prepare


async def exited(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    """Whether the child ends within the time."""
    deadline = time.monotonic() + wait_s
    while process.poll() is None:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def run(
    command: Sequence[str | Path],
    account: Account | None,
    stdin: bytes = b"",
    variables: Mapping[str, str] = _NO_VARIABLES,
) -> tuple[int, str]:
    """Run a program to its end: its exit code, and all that it printed."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
        given.write(stdin)
        given.seek(0)
        process = spawn(command, account, printed, given, variables)
        try:
            await exited(process, math.inf)
        finally:
            kill_session(process)
        printed.seek(0)
        return process.returncode, printed.read().decode(errors="replace")


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a child that still runs, and its own children, at once."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def runs_in(pid: int, cluster: Path) -> bool:
    """Whether the process lives and serves the cluster: pids are used again, after a reboot too."""
    if _LINUX:
        with suppress(OSError):
            return Path(f"/proc/{pid}/cwd").readlink() == cluster
        return False
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True
    )
    return str(cluster) in shown.stdout
