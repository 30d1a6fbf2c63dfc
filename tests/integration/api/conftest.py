"""A live API on a database of the test's own, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import asyncpg
import pyarrow as pa
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings, PostgresSettings
from gputel.store.pool import close_pool, open_pool, problem_of
from gputel.store.read.reader import Reader
from gputel.store.write.writer import Arrival, Writer
from gputel.times import Duration
from gputel.web.health import Health
from gputel.web.server.listener import Listener
from tests.helpers.wire import PostgresWire, wire_to

NO_HEAD = Duration(0)
"""Most tests land samples of old days, and some watch the sessions of Postgres: without a head."""
SETTINGS = ApiSettings(api_port=0, head_window=NO_HEAD)

Start = Callable[..., AbstractAsyncContextManager[aiohttp.ClientSession]]
Land = Callable[[pa.RecordBatch], Any]


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[Listener]:
    async with serve(SETTINGS, "127.0.0.1", Reader(pool), Health()) as listener:
        yield listener


@pytest.fixture
async def client(api: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(api.url) as session:
        yield session


@pytest.fixture
async def wire(dsn: str) -> AsyncIterator[PostgresWire]:
    async with wire_to(dsn) as wire:
        yield wire


@pytest.fixture
async def wired_api(wire: PostgresWire) -> AsyncIterator[Listener]:
    """An API whose way to Postgres can be cut."""
    pool = await open_pool(wire.dsn, PostgresSettings())
    health = Health()
    health.add("postgres", partial(problem_of, pool))
    async with serve(SETTINGS, "127.0.0.1", Reader(pool), health) as listener:
        yield listener
    await close_pool(pool)


@pytest.fixture
async def wired_client(wired_api: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(wired_api.url) as session:
        yield session


@pytest.fixture
def start(pool: asyncpg.Pool) -> Start:
    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
        own = replace(SETTINGS, **settings)
        async with (
            serve(own, "127.0.0.1", Reader(pool), Health()) as listener,
            aiohttp.ClientSession(listener.url) as client,
        ):
            yield client

    return started


@pytest.fixture
def land(pool: asyncpg.Pool) -> Land:
    writer, numbers = Writer(pool), iter(range(1_000_000))

    async def landed(records: pa.RecordBatch) -> None:
        assert await writer.land([Arrival(f"message-{next(numbers)}", None, records)]) == [True]

    return landed
