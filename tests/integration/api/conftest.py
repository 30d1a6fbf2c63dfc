"""A live API on a database of the test's own, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config import ApiSettings, PostgresSettings
from gputel.store.pool import close_pool, open_pool
from gputel.store.reader import Reader
from gputel.web.health import Health
from gputel.web.listener import Listener
from tests.wire import Wire, wire_to


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[Listener]:
    async with serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health()) as listener:
        yield listener


@pytest.fixture
async def client(api: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(api.url) as session:
        yield session


@pytest.fixture
async def wire(dsn: str) -> AsyncIterator[Wire]:
    async with wire_to(dsn) as wire:
        yield wire


@pytest.fixture
async def wired_api(wire: Wire) -> AsyncIterator[Listener]:
    """An API whose way to Postgres can be cut."""
    pool = await open_pool(wire.dsn, PostgresSettings())
    async with serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health()) as listener:
        yield listener
    await close_pool(pool)


@pytest.fixture
async def wired_client(wired_api: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(wired_api.url) as session:
        yield session
