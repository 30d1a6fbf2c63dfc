from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from gputel.errors import SchemaTooNew, StoreError
from gputel.store.migrations import Migration, known_migrations, migrate

SCHEMA = known_migrations()
NAMES = [migration.name for migration in SCHEMA]


async def query(dsn: str, text: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(text)
    finally:
        await connection.close()


async def test_empty_database_gets_every_migration_in_order(empty_dsn: str) -> None:
    assert await migrate(empty_dsn) == NAMES
    rows = await query(empty_dsn, "SELECT * FROM schema_migration ORDER BY applied_at, version")
    assert [row["name"] for row in rows] == NAMES
    assert [row["checksum"] for row in rows] == [migration.checksum for migration in SCHEMA]
    assert await query(empty_dsn, "SELECT count(*) FROM telemetry")


async def test_second_run_applies_nothing(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    assert await migrate(empty_dsn) == []


async def test_ten_migrators_at_once_apply_each_migration_once(empty_dsn: str) -> None:
    answers = await asyncio.gather(*(migrate(empty_dsn) for _ in range(10)))
    assert sorted(map(len, answers)) == [0] * 9 + [len(NAMES)]


async def test_a_connection_is_left_without_the_lock(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await migrate(connection)
    assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype='advisory'") == 0
    await connection.close()


async def test_database_ahead_of_this_gputel_is_refused_by_name(dsn: str) -> None:
    future = Migration(9999, "9999_from_the_future", "SELECT 1")
    await migrate(dsn, [*SCHEMA, future])
    with pytest.raises(SchemaTooNew, match="9999_from_the_future"):
        await migrate(dsn)


async def test_changed_file_of_an_applied_migration_is_refused(dsn: str) -> None:
    changed = replace(SCHEMA[0], sql=SCHEMA[0].sql + "-- changed")
    with pytest.raises(StoreError, match=f"{SCHEMA[0].name} differs"):
        await migrate(dsn, [changed, *SCHEMA[1:]])


async def test_line_ends_do_not_change_a_checksum() -> None:
    windows = replace(SCHEMA[0], sql=SCHEMA[0].sql.replace("\n", "\r\n"))
    assert windows.checksum == SCHEMA[0].checksum


async def test_failing_migration_leaves_nothing_of_itself_and_is_named(dsn: str) -> None:
    bad = Migration(9999, "9999_bad", "CREATE TABLE half (x int); SELECT 1/0")
    with pytest.raises(StoreError, match=r"9999_bad.*division by zero"):
        await migrate(dsn, [*SCHEMA, bad])
    assert await query(dsn, "SELECT to_regclass('half') AS half") == [(None,)]
    assert await migrate(dsn) == []
