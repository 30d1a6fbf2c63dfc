"""What answers carry for the sake of browsers."""

from __future__ import annotations

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.web.access.access import Access
from gputel.web.access.tokens import parse
from gputel.web.health import Health
from gputel.web.server.listener import Listener
from tests.helpers.raw_http import raw_to, request

DATA = ["/api/v1/gpus", "/api/v1/telemetry", "/api/v1/stream", "/healthz", "/readyz", "/metrics"]
DATA += ["/openapi.json", "/prometheus/api/v1/labels", "/nothing", "/api/v1/gpus?limit=x"]


@pytest.mark.parametrize("path", [*DATA, "/", "/swagger", "/static/pages.css"])
async def test_no_answer_is_sniffed_framed_or_told_to_others(client, path) -> None:
    async with client.get(path) as reply:
        assert reply.headers.getall("X-Content-Type-Options") == ["nosniff"]
        assert reply.headers.getall("X-Frame-Options") == ["DENY"]
        assert reply.headers.getall("Referrer-Policy") == ["no-referrer"]
        assert reply.headers.getall("Cross-Origin-Resource-Policy") == ["same-origin"]
        (policy,) = reply.headers.getall("Content-Security-Policy")
        assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("data", [b"no HTTP\r\n\r\n", request("/" + "x" * 20_000)])
async def test_what_is_no_http_is_refused_with_them_as_well(api: Listener, data) -> None:
    async with raw_to(api.port) as raw:
        await raw.send(data)
        reply = await raw.reply()
    assert (reply.status, reply.fields["x-content-type-options"]) == (400, "nosniff")


async def test_what_needs_a_token_is_kept_by_no_shared_cache(pool: asyncpg.Pool) -> None:
    tokens = parse(["me read 0123456789abcdef"], "test")
    async with (
        serve(
            ApiSettings(api_port=0),
            "127.0.0.1",
            Reader(pool),
            Health(),
            Access(lambda: tokens),
        ) as listener,
        aiohttp.ClientSession(listener.url) as client,
    ):
        shown = {"Authorization": "Bearer 0123456789abcdef"}
        async with client.get("/api/v1/gpus", headers=shown) as reply:
            assert reply.headers["Cache-Control"] == "private, no-cache"
        async with client.get("/api/v1/gpus") as reply:
            assert (reply.status, reply.headers["Cache-Control"]) == (401, "no-store")
        async with client.get("/openapi.json") as reply:  # it says that a token is needed
            gpus = (await reply.json())["paths"]["/api/v1/gpus"]["get"]
            assert gpus["security"] == [{"token": []}]
