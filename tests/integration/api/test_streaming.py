from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.store.read.reader import Reader
from gputel.web.health import Health
from gputel.web.server.listener import Listener
from tests.helpers.telemetry_rows import Labels, add_block, add_many
from tests.helpers.waiting import until
from tests.helpers.wire import Wire
from tests.integration.api.conftest import SETTINGS

MORNING = datetime(2025, 7, 18, 1, tzinfo=UTC)
PATH = "/api/v1/gpus/GPU-a/telemetry"
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


async def busy_sessions(pool: asyncpg.Pool) -> int:
    return int(await pool.fetchval(_OTHERS))


async def until_busy_sessions_are(pool: asyncpg.Pool, count: int) -> None:
    async with asyncio.timeout(60):
        while await busy_sessions(pool) != count:
            await asyncio.sleep(0.02)


async def test_all_of_two_hundred_thousand_records_come_in_bounded_memory(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_many(pool, Labels(), MORNING, blocks=1000, samples=200)
    await add_many(pool, Labels(metric="POWER"), MORNING, blocks=20, samples=1000)

    async def peak(metric: str, count: int) -> int:
        records = 0
        tracemalloc.start()
        async with client.get(PATH, params={"metric": metric}) as response:
            async for data in response.content.iter_any():
                records += data.count(b"labels_raw")
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert abs(records - count) <= count // 100  # names may lie across two pieces
        return highest

    await peak("POWER", 20_000)
    small, large = await peak("POWER", 20_000), await peak("TEMP", 200_000)
    assert large < 2 * small


async def test_the_answer_is_one_valid_array(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_many(pool, Labels(), MORNING, blocks=50, samples=101)
    async with client.get(PATH) as response:
        found = json.loads(await response.read())
    assert [record["value"] for record in found] == list(range(5049, -1, -1))


async def test_a_client_that_leaves_takes_its_read_along(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_many(pool, Labels(), MORNING, blocks=1000, samples=200)
    response = await client.get(PATH)
    await response.content.readany()
    await until_busy_sessions_are(pool, 1)
    response.close()
    await until_busy_sessions_are(pool, 0)
    await until(lambda: pool.get_idle_size() == pool.get_size(), 60, "every session is given back")


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}?step=1m&agg=p95",
        "/api/v1/telemetry?step=1m&group_by=hostname",
        "/api/v1/telemetry/top?metric=TEMP",
    ],
)
async def test_a_client_that_leaves_cancels_its_statement(
    pool: asyncpg.Pool, api: Listener, path: str
) -> None:
    await add_block(pool, Labels(), [MORNING], [1])
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE series IN ACCESS EXCLUSIVE MODE")
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until_busy_sessions_are(pool, 2)  # the lock's and the one that waits for it
        writer.transport.abort()
        await until_busy_sessions_are(pool, 1)
    assert await reader.read() == b""


async def test_while_postgres_is_away_the_api_says_so_and_recovers(
    pool: asyncpg.Pool, wire: Wire, wired_client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [MORNING], [1])
    await wire.cut()
    for path in ("/api/v1/gpus", PATH):
        async with wired_client.get(path) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            refusal = await response.json()
            assert refusal["code"] == "store_unavailable"
            assert "Postgres is away" in refusal["message"]
    async with wired_client.get("/readyz") as response:
        assert response.status == 503
        assert "postgres" in (await response.json())["problems"]
    async with wired_client.get("/healthz") as response:
        assert response.status == 200
    await wire.mend()
    async with wired_client.get(PATH) as response:
        assert response.status == 200
        assert len(await response.json()) == 1
    async with wired_client.get("/readyz") as response:
        assert response.status == 200


async def test_a_read_that_fails_on_the_way_is_never_taken_for_the_whole(
    pool: asyncpg.Pool, wire: Wire, wired_client: aiohttp.ClientSession
) -> None:
    await add_many(pool, Labels(), MORNING, blocks=1000, samples=200)
    async with wired_client.get(PATH) as response:
        assert response.status == 200
        await response.content.readany()
        await wire.cut()
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await response.read()


@pytest.fixture
async def stalling_api(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Listener]:
    """An API that waits for a client that takes nothing for two seconds."""
    monkeypatch.setattr("gputel.api.server._STALL_S", 2.0)
    async with serve(SETTINGS, "127.0.0.1", Reader(pool), Health()) as listener:
        yield listener


async def test_a_client_that_takes_little_at_a_time_gets_all_of_an_answer(
    pool: asyncpg.Pool, stalling_api: Listener
) -> None:
    """Slower than any pace in which one piece is taken within the limit."""
    await add_many(pool, Labels(), MORNING, blocks=200, samples=200)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", stalling_api.port))
    head = f"GET {PATH}?format=ndjson HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(sock, head.encode())
    answer, began = b"", loop.time()
    with sock:
        while data := await loop.sock_recv(sock, 65_536):
            answer += data
            if loop.time() - began < 5.0:  # slowly at first, for several times the limit
                await asyncio.sleep(0.05)
    assert answer.endswith(b"0\r\n\r\n")


async def test_a_client_that_takes_nothing_loses_its_connection(
    pool: asyncpg.Pool, stalling_api: Listener
) -> None:
    api = stalling_api
    await add_many(pool, Labels(), MORNING, blocks=1000, samples=200)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await until_busy_sessions_are(pool, 1)
    await until_busy_sessions_are(pool, 0)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")
    writer.close()
