"""429 for who asks too often, CORS for pages of other sites: over the socket of a live API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import AccessSettings, ApiSettings
from gputel.store.read.reader import Reader
from gputel.web.access.access import Access
from gputel.web.health import Health

ONE, OTHER = "1" * 32, "2" * 32
ACCESS = AccessSettings(tokens=f"one read {ONE};other read {OTHER}")
PAGE = {"Origin": "https://grafana.example"}
Start = Callable[..., AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture
def start(pool: asyncpg.Pool) -> Start:
    @asynccontextmanager
    async def started(
        access: AccessSettings | None = None, **settings: Any
    ) -> AsyncIterator[aiohttp.ClientSession]:
        own = ApiSettings(api_port=0, **settings)
        let_in = Access.of(access or AccessSettings())
        async with (
            serve(own, "127.0.0.1", Reader(pool), Health(), access=let_in) as listener,
            aiohttp.ClientSession(listener.url) as client,
        ):
            yield client

    return started


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_that_asks_too_often_waits_and_others_do_not(start: Start) -> None:
    async with start(ACCESS, rate_limit=0.001, rate_burst=2) as client:
        for left in ("1", "0"):
            async with client.get("/api/v1/gpus", headers=bearer(ONE)) as reply:
                assert reply.status == 200
                assert reply.headers["RateLimit-Limit"] == "2"
                assert reply.headers["RateLimit-Remaining"] == left
        async with client.get("/api/v1/gpus", headers=bearer(ONE)) as reply:
            assert reply.status == 429
            assert 900 <= int(reply.headers["Retry-After"]) <= 1000
            assert reply.headers["RateLimit-Remaining"] == "0"
            refusal = await reply.json()
            assert refusal["code"] == "too_many_requests"
            assert "token 'one'" in refusal["message"]
            assert "--rate-limit" in refusal["message"]
        async with client.get("/api/v1/gpus", headers=bearer(OTHER)) as reply:
            assert reply.status == 200
        for path in ("/healthz", "/readyz", "/swagger", "/openapi.json"):
            async with client.get(path, headers=bearer(ONE)) as reply:
                assert reply.status == 200


async def test_without_tokens_an_address_is_counted(start: Start) -> None:
    async with start(rate_limit=0.001, rate_burst=1) as client:
        async with client.get("/api/v1/gpus") as reply:
            assert reply.status == 200
        async with client.get("/api/v1/gpus") as reply:
            assert reply.status == 429
            assert "address 127.0.0.1" in (await reply.json())["message"]


async def test_only_so_many_requests_of_a_token_are_unanswered(
    start: Start, pool: asyncpg.Pool
) -> None:
    """A lock makes the first wait; it counts until it is answered, or its client is gone."""
    async with start(ACCESS, concurrency_limit=1) as client, pool.acquire() as holder:
        lock = holder.transaction()
        await lock.start()
        await holder.execute("LOCK TABLE series IN ACCESS EXCLUSIVE MODE")
        await holder.execute("LOCK TABLE gpu IN ACCESS EXCLUSIVE MODE")
        slow = asyncio.create_task(status(client, ONE))
        async with asyncio.timeout(60):
            while await status(client, ONE, "/openapi") != 429:
                await asyncio.sleep(0.02)
        assert await status(client, OTHER, "/openapi") == 404
        await lock.rollback()
        assert await slow == 200
        assert await status(client, ONE) == 200


async def status(client: aiohttp.ClientSession, token: str, path: str = "/api/v1/gpus") -> int:
    async with client.get(path, headers=bearer(token)) as reply:
        await reply.read()
        return reply.status


async def test_no_page_of_another_site_reads_the_api_unless_it_may(start: Start) -> None:
    async with start() as client, client.get("/api/v1/gpus", headers=PAGE) as reply:
        assert not [name for name in reply.headers if name.startswith("Access-Control")]
    allowed = start(cors_origins="https://other.example")
    async with allowed as client, client.get("/api/v1/gpus", headers=PAGE) as reply:
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert "Origin" in reply.headers["Vary"]


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [("https://a.example, https://grafana.example", PAGE["Origin"]), ("*", "*")],
)
async def test_pages_of_the_origins_read_answers_and_refusals(
    start: Start, origins: str, allowed: str
) -> None:
    async with start(ACCESS, cors_origins=origins) as client:
        for headers, expected in ((bearer(ONE), 200), ({}, 401)):
            async with client.get("/api/v1/gpus", headers=PAGE | headers) as reply:
                assert reply.status == expected
                assert reply.headers["Access-Control-Allow-Origin"] == allowed
                assert "Link" in reply.headers["Access-Control-Expose-Headers"]
        asked = {"Access-Control-Request-Method": "GET"}
        async with client.options("/api/v1/gpus", headers=PAGE | asked) as reply:
            assert reply.status == 204
            assert reply.headers["Access-Control-Allow-Origin"] == allowed
            assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
            assert "GET" in reply.headers["Access-Control-Allow-Methods"]


async def test_what_depends_on_the_origin_and_the_encoding_says_both(start: Start) -> None:
    allowed = start(cors_origins=PAGE["Origin"])
    async with allowed as client, client.get("/api/v1/gpus", headers=PAGE) as reply:
        said = {name.strip() for name in reply.headers["Vary"].split(",")}
        assert {"Accept", "Accept-Encoding", "Origin"} <= said
