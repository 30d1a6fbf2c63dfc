"""A role of Postgres that can read and note keys is all that the api needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.errors import StoreError
from gputel.store.grants import check_rights, grant
from gputel.store.migrations import known_migrations, migrate
from gputel.store.pool import close_pool
from gputel.store.read.reader import Reader
from gputel.store.write.push_keys import PushKeys
from gputel.web.health import Health
from tests.helpers.batches import NOON
from tests.helpers.telemetry_rows import Labels, add_many
from tests.integration.store.test_db_command import gputel_db

PATHS = [
    "/api/v1/gpus",
    "/api/v1/gpus/GPU-a",
    "/api/v1/gpus/GPU-b",
    "/api/v1/gpus/GPU-a/telemetry",
    "/api/v1/gpus/GPU-a/telemetry?step=1h",
    "/api/v1/hosts",
    "/api/v1/metrics",
    "/api/v1/targets",
    "/api/v1/telemetry?limit=10",
    "/api/v1/telemetry?step=1m&group_by=hostname",
    "/api/v1/telemetry/latest",
    "/api/v1/telemetry/top?metric=TEMP&start_time=2025-07-18T00:00:00Z",
    "/prometheus/api/v1/query?query=TEMP",
    "/prometheus/api/v1/labels",
]


@pytest.fixture
async def role(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[str]:
    """A role that nothing has been granted to."""
    name = f'reader "{pool.get_size()}" of {dsn.rsplit("/", 1)[-1].split("?")[0]}'
    quoted = name.replace('"', '""')
    await pool.execute(f'CREATE ROLE "{quoted}" LOGIN')
    yield name
    await pool.execute(f'DROP OWNED BY "{quoted}"')
    await pool.execute(f'DROP ROLE "{quoted}"')


@pytest.fixture
async def limited(pool: asyncpg.Pool, dsn: str, role: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool whose sessions have the rights of the role alone."""
    quoted = role.replace('"', '""')

    async def become(connection: asyncpg.Connection) -> None:
        await connection.execute(f'SET SESSION AUTHORIZATION "{quoted}"')

    found = await asyncpg.create_pool(dsn, min_size=0, max_size=4, init=become, reset=_no_reset)
    yield found
    await close_pool(found)


async def _no_reset(_connection: asyncpg.Connection) -> None:
    """Nothing: RESET ALL would give the session its first role back."""


async def test_the_api_answers_all_that_it_can_be_asked_on_a_role_of_its_own(
    pool, limited, role
) -> None:
    await add_many(pool, Labels("GPU-a"), NOON, 2, 500)
    async with pool.acquire() as connection:
        await grant(connection, role)
    await check_rights(limited)
    async with limited.acquire() as connection:
        assert await migrate(connection) == []
    async with (
        serve(ApiSettings(api_port=0), "127.0.0.1", Reader(limited), Health()) as api,
        aiohttp.ClientSession(api.url) as client,
    ):
        for path in PATHS:
            async with client.get(path) as answer:
                assert answer.status == (404 if path.endswith("GPU-b") else 200), path
        async with client.get("/api/v1/stream") as stream:
            assert stream.status == 200
            assert b"retry" in await stream.content.readline()
    keys = PushKeys(limited)
    assert [await keys.digest_of(b"k", digest) for digest in (b"1", b"2")] == [b"1", b"1"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sample_block",
        "UPDATE series SET hostname = 'x'",
        "INSERT INTO gpu SELECT * FROM gpu",
        "DELETE FROM push_key",
        "TRUNCATE landing",
        "SELECT * FROM stream_progress",
        "DROP TABLE push_key",
        "CREATE TABLE mine ()",
        "SELECT drop_sample_block_day(max(day)) FROM sample_block_part",
    ],
)
async def test_such_a_role_cannot_change_what_has_landed(pool, limited, role, statement) -> None:
    await add_many(pool, Labels("GPU-a"), NOON, 2, 500)
    async with pool.acquire() as connection:
        await grant(connection, role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await limited.execute(statement)


async def test_rights_that_are_missing_are_named_with_what_gives_them(pool, limited, role) -> None:
    with pytest.raises(StoreError, match=r"SELECT on series.*gputel db grant --role"):
        await check_rights(limited)
    async with pool.acquire() as connection:
        await grant(connection, role)
        quoted = role.replace('"', '""')
        await connection.execute(f'REVOKE INSERT ON push_key FROM "{quoted}"')
    with pytest.raises(StoreError, match="api needs: INSERT on push_key; run"):
        await check_rights(limited)


async def test_a_schema_that_is_not_up_to_date_is_for_its_owner_to_mend(
    pool, limited, role
) -> None:
    async with limited.acquire() as connection:
        with pytest.raises(StoreError, match="gputel db migrate with the DSN of the role"):
            await migrate(connection)
    async with pool.acquire() as connection:
        await grant(connection, role)
        last = known_migrations()[-1].version
        await connection.execute("DELETE FROM schema_migration WHERE version = $1", last)
    async with limited.acquire() as connection:
        with pytest.raises(StoreError, match="gputel db migrate with the DSN of the role"):
            await migrate(connection)


async def test_the_command_grants_and_says_what(dsn: str, role: str, limited) -> None:
    answer = gputel_db("grant", "--role", role, GPUTEL_POSTGRES_DSN=dsn)
    assert answer.returncode == 0
    assert "GRANT SELECT, INSERT, UPDATE ON public.push_key TO " in answer.stdout
    await check_rights(limited)
    answer = gputel_db("grant", "--role", "nobody's", GPUTEL_POSTGRES_DSN=dsn)
    assert answer.returncode == 1
    assert 'Postgres has no role "nobody\'s"' in answer.stderr
