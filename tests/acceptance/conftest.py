"""Real processes on a database of the test's own, and files for them to read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.captures import REAL
from tests.helpers.processes import Gputel, Processes, free_port, processes_in

Ingest = Callable[..., Coroutine[Any, Any, Gputel]]


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with processes_in(tmp_path) as started:
        yield started


@pytest.fixture
def capture() -> Path:
    """The real capture, where it is at hand."""
    if not REAL.exists():
        pytest.skip("the real capture is not here")
    return REAL


@pytest.fixture(scope="session")
def model_dir(open_dir: Path) -> Path:
    """A data directory with a cluster and a schema in it; no server runs."""
    place = open_dir / "acceptance-model"
    command = (sys.executable, "-m", "gputel", "db", "migrate", "--data-dir", str(place))
    subprocess.run(command, check=True, capture_output=True)
    return place


@pytest.fixture
def made_dir(model_dir: Path, data_dir: Path) -> Path:
    """Such a data directory of the test's own: a warm start."""
    subprocess.run(("cp", "-a", model_dir, data_dir), check=True)
    return data_dir


@pytest.fixture
def ingest(processes: Processes, dsn: str) -> Ingest:
    """Run ``gputel ingest`` on the test's database, to its end."""

    async def run(*arguments: str | Path) -> Gputel:
        return await processes.run("ingest", *arguments, GPUTEL_POSTGRES_DSN=dsn)

    return run


@pytest.fixture
async def api_url(processes: Processes, dsn: str) -> str:
    """The address of a live API on the test's database."""
    port = free_port()
    arguments = ("run", "--role", "api", "--api-port", str(port))
    await processes.start(*arguments, GPUTEL_POSTGRES_DSN=dsn).says("ready")
    return f"http://127.0.0.1:{port}"
