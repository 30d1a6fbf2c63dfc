from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from gputel.config.settings import CommonSettings, PostgresSettings, Settings
from gputel.errors import ConfigError, StoreError, StoreUnavailable
from gputel.store import pool as pool_module
from gputel.store.open import open_store
from gputel.store.pool import close_pool, open_pool, store_errors
from tests.helpers.waiting import until

IMPATIENT = PostgresSettings(postgres_wait_s=0.2)


async def test_sessions_are_in_utc_and_named(pool) -> None:
    assert await pool.fetchval("SHOW timezone") == "UTC"
    assert await pool.fetchval("SHOW application_name") == "gputel"


async def test_pool_opens_no_more_sessions_than_set(dsn: str) -> None:
    pool = await open_pool(dsn, PostgresSettings(postgres_pool_size=2))
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.01)") for _ in range(6)))
    assert pool.get_size() == 2
    await close_pool(pool)


async def test_close_does_not_wait_for_a_session_that_is_never_released(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_CLOSE_TIMEOUT_S", 0.05)
    pool = await open_pool(dsn, PostgresSettings())
    connection = await pool.acquire()
    await close_pool(pool)
    with pytest.raises(StoreUnavailable), store_errors():
        await connection.fetchval("SELECT 1")


async def test_server_that_starts_late_is_waited_for(
    server_dsn: str, dsn: str, tmp_path: Path
) -> None:
    socket_dir = Path(dsn.partition("host=")[2].partition("&")[0])
    link = tmp_path / "s"
    opening = asyncio.create_task(
        open_pool(dsn.replace(str(socket_dir), str(link)), PostgresSettings(postgres_wait_s=30))
    )
    await asyncio.sleep(0.1)
    assert not opening.done()
    link.symlink_to(socket_dir)
    pool = await opening
    assert await pool.fetchval("SELECT 1") == 1
    await close_pool(pool)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid:5432"])
async def test_server_that_stays_away_is_named_without_its_password(host: str) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        await open_pool(f"postgresql://me:sesame@{host}/db", IMPATIENT)
    assert f"postgresql://***@{host}/db did not answer within 0.2 s" in raised.value.message
    assert "--postgres-dsn" in raised.value.message
    assert "sesame" not in raised.value.message


async def test_wait_for_a_server_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_LOG_EVERY_S", 0.05)
    told = "waiting for Postgres at postgresql://***@127.0.0.1:1/db"
    with caplog.at_level(logging.WARNING):
        patient = replace(IMPATIENT, postgres_wait_s=120.0)
        waiting = asyncio.create_task(open_pool("postgresql://me:sesame@127.0.0.1:1/db", patient))
        await until(lambda: told in caplog.text, 60, "the line of the log")
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_unknown_database_fails_at_once(dsn: str) -> None:
    missing = dsn.replace("@/", "@/no_such_")
    with pytest.raises(StoreError, match=r'database "no_such_\w+" does not exist.*create the'):
        await open_pool(missing, PostgresSettings(postgres_wait_s=60))


async def test_unknown_user_fails_at_once(dsn: str) -> None:
    with pytest.raises(StoreError, match=r'role "stranger" does not exist.*check the user'):
        await open_pool(dsn.replace("gputel@", "stranger@"), PostgresSettings(postgres_wait_s=60))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:sesame@host:port/db",
        "postgresql://me:sesame@[::1/db",
        "postgresql://me:sesame@/db?sslmode=perhaps",
        "mysql://me:sesame@host/db",
        "postgresql://me:sesame@host/db?oops",
    ],
)
async def test_dsn_that_cannot_be_read_is_a_wrong_setting(dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"^postgres_dsn: ") as raised:
        await open_pool(dsn, IMPATIENT)
    assert "sesame" not in raised.value.message


async def test_connection_cut_by_the_server_can_be_tried_again(pool) -> None:
    with pytest.raises(StoreUnavailable):
        async with store_errors(), pool.acquire() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await pool.fetchval("SELECT 1") == 1


async def test_store_on_a_server_of_one_s_own_gets_its_schema(empty_dsn: str) -> None:
    settings = Settings(postgres=PostgresSettings(postgres_dsn=empty_dsn))
    async with open_store(settings) as pool:
        assert await pool.fetchval("SELECT count(*) FROM telemetry") == 0


async def test_store_without_a_dsn_is_the_embedded_one(made_dir: Path) -> None:
    settings = replace(Settings(), common=CommonSettings(data_dir=made_dir))
    async with open_store(settings) as pool:
        assert await pool.fetchval("SELECT count(*) FROM telemetry") == 0
        assert await pool.fetchval("SELECT current_user") == "gputel"
