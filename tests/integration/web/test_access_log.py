"""One line for each request, where it is asked for; and connections that wait for the next one."""

from __future__ import annotations

import logging
import re

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.broker.server import serve as serve_broker
from gputel.config.settings import ApiSettings, BrokerSettings
from gputel.store.read.reader import Reader
from gputel.web.access.access import Access
from gputel.web.access.tokens import AccessToken, Scope
from gputel.web.health import Health
from tests.helpers.raw_http import raw_to, request

SECRET = "s" * 32


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gputel.access")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "gputel.access"]


async def test_each_request_to_the_api_has_a_line_with_who_asked(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [AccessToken.of("reader", [Scope.READ], SECRET)]
    access = Access(lambda: tokens, log_requests=True)
    settings = ApiSettings(api_port=0, base_path="/a")
    headers = {"User-Agent": "curl/8", "Authorization": f"Bearer {SECRET}"}
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health(), access) as listener,
        aiohttp.ClientSession(listener.url) as session,
    ):
        for path in ("/a/api/v1/gpus?hostname=h", "/nothing"):
            async with session.get(path, headers=headers) as response:
                await response.read()
        async with session.get("/api/v1/gpus", headers={"User-Agent": "x"}) as response:
            assert response.status == 401
    found, missing, refused = said(caplog)
    shape = r'127\.0\.0\.1 "GET /api/v1/gpus\?hostname=h" 200 \d+ 0\.\d{3} reader "curl/8"'
    assert re.fullmatch(shape, found)
    assert ' "GET /nothing" 404 ' in missing
    assert re.search(r' 401 \d+ 0\.\d{3} - "x"$', refused)
    assert not any(SECRET in line for line in (found, missing, refused))


async def test_each_request_to_a_broker_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    settings = BrokerSettings(broker_port=0)
    for log_requests, count in ((True, 1), (False, 0)):
        access = Access(log_requests=log_requests)
        async with (
            serve_broker(settings, "127.0.0.1", Health(), drain_deadline_s=1, access=access) as at,
            aiohttp.ClientSession(at.url) as session,
            session.post("/publish", json={"id": "1", "payload": "x"}) as response,
        ):
            assert response.status == 202
        assert len(said(caplog)) == count
        caplog.clear()


async def test_an_idle_connection_is_kept_as_long_as_is_set(pool: asyncpg.Pool) -> None:
    settings = ApiSettings(api_port=0, api_idle_timeout_s=0.2)
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as listener,
        raw_to(listener.port) as raw,
    ):
        await raw.send(request("/healthz", method="GET"))
        assert b"200 OK" in await raw.rest()  # until the server closes it


@pytest.mark.parametrize("settings", [ApiSettings(), BrokerSettings()])
def test_an_idle_connection_outlives_that_of_a_load_balancer(
    settings: ApiSettings | BrokerSettings,
) -> None:
    kept_s = getattr(settings, "api_idle_timeout_s", None) or settings.idle_timeout_s
    assert kept_s > 600  # Google's, the longest of the common ones
