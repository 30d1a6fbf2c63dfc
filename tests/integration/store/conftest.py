"""Data directories with a cluster in them, and processes that hold it open."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gputel.store.postgres.shared import embedded_postgres
from tests.helpers.postgres_processes import Holder, start_holder

StartHolder = Callable[..., Awaitable[Holder]]


@pytest.fixture
async def hold() -> AsyncIterator[StartHolder]:
    """Start processes that hold the embedded Postgres of a data directory; ended with the test."""
    started: list[Holder] = []

    async def start(data_dir: Path, **options: Any) -> Holder:
        started.append(await start_holder(data_dir, **options))
        return started[-1]

    yield start
    for holder in started:
        if holder.process.returncode is None:
            await holder.stop()


@pytest.fixture(scope="session")
def model_dir(open_dir: Path) -> Path:
    """A data directory whose cluster has been made, and whose server has been stopped."""
    place = open_dir / "model"

    async def make() -> None:
        async with embedded_postgres(place):
            pass

    loop = asyncio.new_event_loop()
    loop.run_until_complete(make())
    loop.close()
    return place


@pytest.fixture
def made_dir(model_dir: Path, data_dir: Path) -> Path:
    """A data directory of the test's own, with a cluster in it."""
    subprocess.run(["cp", "-a", model_dir, data_dir], check=True)
    return data_dir
