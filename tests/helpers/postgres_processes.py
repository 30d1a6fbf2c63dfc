"""Processes that use an embedded Postgres, and looking at it from outside."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from typing import Any
from gputel.store.postgres.shared import embedded_postgres

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with embedded_postgres(Path(sys.argv[1])) as dsn:
        print(dsn, flush=True)
        await stop.wait()

asyncio.run(main())
"""


@dataclass
class Holder:
    """A process that holds the embedded Postgres of a data directory open."""

    process: asyncio.subprocess.Process

    async def dsn(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            if line := await self.process.stdout.readline():
                return line.decode().strip()
            assert self.process.stderr is not None
            raise AssertionError((await self.process.stderr.read()).decode())

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        self.process.terminate()
        async with asyncio.timeout(60):
            return await self.process.wait()


async def start_holder(data_dir: Path, python: str = sys.executable, **options: Any) -> Holder:
    process = await asyncio.create_subprocess_exec(
        *(python, "-c", PROGRAM, str(data_dir)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    return Holder(process)


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def fetchval(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root switches users")
