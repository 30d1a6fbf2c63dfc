"""The store as a process opens it: a server, a pool, and the schema brought up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from gputel.config.settings import Settings
from gputel.store.migrations import migrate
from gputel.store.pool import close_pool, open_pool, store_errors
from gputel.store.postgres.shared import check_made, embedded_postgres


@asynccontextmanager
async def open_dsn(settings: Settings) -> AsyncIterator[str]:
    """The DSN in the settings, else that of the embedded Postgres, which runs meanwhile.

    Enter it on the main thread. Raises StoreError.
    """
    if settings.postgres.postgres_dsn is not None:
        yield settings.postgres.postgres_dsn
        return
    bin_dir = settings.postgres.postgres_bin_dir
    async with embedded_postgres(settings.common.data_dir, bin_dir) as dsn:
        yield dsn


@asynccontextmanager
async def open_store(settings: Settings, *, make: bool = True) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a database whose schema is this gputel's.

    Without ``make``, a data directory without a database is an error and stays as it is.
    Enter it on the main thread. Raises StoreError, or ConfigError for a DSN that cannot be read.
    """
    if not make and settings.postgres.postgres_dsn is None:
        check_made(settings.common.data_dir)
    async with open_dsn(settings) as dsn:
        pool = await open_pool(dsn, settings.postgres)
        try:
            async with store_errors(), pool.acquire() as connection:
                await migrate(connection)
            yield pool
        finally:
            await close_pool(pool)
