"""A server that goes silent is not waited for, and one that works is, however long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest

from gputel.config.settings import PostgresSettings
from gputel.errors import StoreUnavailable
from gputel.store import sessions
from gputel.store.pool import close_pool, open_pool, store_errors
from tests.helpers.wire import PostgresWire, wire_to


@pytest.fixture
async def wire(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresWire]:
    monkeypatch.setattr(sessions, "_PATIENCE_S", 0.3)
    async with wire_to(dsn) as wire:
        yield wire


@pytest.fixture
async def remote(wire: PostgresWire) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(wire.dsn, PostgresSettings(postgres_pool_size=2))
    yield pool
    await close_pool(pool)


async def test_a_statement_that_is_lost_on_the_way_ends_its_session_and_its_locks(
    wire: PostgresWire, remote: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    async def lose() -> None:
        async with store_errors(), remote.acquire() as connection, connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            await connection.execute("LOCK TABLE t")
            wire.mute()
            await connection.execute("INSERT INTO t VALUES (2)")

    await pool.execute("CREATE TABLE t (n integer)")
    with pytest.raises(StoreUnavailable, match="was lost on the way: Postgres is idle"):
        await lose()
    async with asyncio.timeout(60):
        await pool.execute("BEGIN; LOCK TABLE t; INSERT INTO t VALUES (3); COMMIT")
        assert await remote.fetchval("SELECT sum(n) FROM t") == 3


async def test_an_answer_that_is_lost_on_the_way_is_not_waited_for(
    wire: PostgresWire, remote: asyncpg.Pool
) -> None:
    async def lose() -> None:
        async with store_errors(), remote.acquire() as connection:
            wire.mute()
            await connection.fetchval("SELECT 1")

    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable, match="lost on the way"):
            await lose()
        assert await remote.fetchval("SELECT 1") == 1


async def test_a_rollback_and_a_release_are_not_waited_for_either(
    wire: PostgresWire, remote: asyncpg.Pool
) -> None:
    async def lose() -> None:
        async with store_errors(), remote.acquire() as connection, connection.transaction():
            await connection.execute("SELECT 1")
            wire.mute()
            async with asyncio.timeout(0.1):
                await connection.execute("SELECT pg_sleep(100)")

    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable):
            await lose()
        assert await remote.fetchval("SELECT 1") == 1


async def test_a_cursor_is_not_waited_for_either(wire: PostgresWire, remote: asyncpg.Pool) -> None:
    async def lose() -> None:
        async with store_errors(), remote.acquire() as connection, connection.transaction():
            cursor = await connection.cursor("SELECT generate_series(1, 100)")
            await cursor.fetch(10)
            wire.mute()
            await cursor.fetch(10)

    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable, match="lost on the way"):
            await lose()


async def test_a_server_that_answers_nobody_is_told_to_be_away(
    wire: PostgresWire, remote: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait() -> None:
        async with store_errors(), remote.acquire() as connection:
            wire.freeze()
            await connection.fetchval("SELECT 1")

    monkeypatch.setattr(sessions, "_ASK_S", 0.5)
    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable, match=r"Postgres has not answered for 0\.8 s"):
            await wait()
    wire.thaw()
    assert await remote.fetchval("SELECT 1") == 1


async def test_a_statement_that_works_for_long_is_waited_for(remote: asyncpg.Pool) -> None:
    assert await remote.fetchval("SELECT count(*) FROM pg_sleep(2)") == 1


async def test_a_lock_that_is_waited_for_too_long_is_tried_anew(
    remote: asyncpg.Pool, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LOCK_S", 0.5)
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE gpu")
        with pytest.raises(StoreUnavailable, match="57014"):
            async with store_errors():
                await remote.fetch("SELECT FROM gpu")


async def test_an_advisory_lock_is_waited_for(
    remote: asyncpg.Pool, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LOCK_S", 0.1)
    async with pool.acquire() as holder:
        await holder.execute("SELECT pg_advisory_lock(7)")
        waiting = asyncio.create_task(remote.fetchval("SELECT count(pg_advisory_lock(7))"))
        done, _ = await asyncio.wait((waiting,), timeout=1.5)
        assert not done
        await holder.execute("SELECT pg_advisory_unlock(7)")
    assert await waiting == 1


async def test_the_kernel_looks_after_connections_to_other_machines(remote: asyncpg.Pool) -> None:
    async with remote.acquire() as connection:
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
