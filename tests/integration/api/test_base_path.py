"""An API that a reverse proxy shows under a path of its own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import aiohttp
import asyncpg
import pytest
from yarl import URL

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.web.access.access import Access
from gputel.web.access.tokens import AccessToken, Scope
from gputel.web.health import Health
from tests.helpers.telemetry_rows import Labels, add_block

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
PATH = "/api/v1/telemetry?limit=1"


@pytest.fixture
async def under(pool: asyncpg.Pool) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of an API under /a/b, to which a proxy passes paths as they are."""
    await add_block(pool, Labels(), [NOON, NOON + timedelta(seconds=1)], [1.0, 2.0])
    settings = ApiSettings(api_port=0, base_path="/a/b/")
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as listener,
        aiohttp.ClientSession(listener.url) as session,
    ):
        yield session


async def next_page(client: aiohttp.ClientSession, path: str, prefix: str = "") -> str:
    headers = {"X-Forwarded-Prefix": prefix} if prefix else {}
    async with client.get(path, headers=headers) as response:
        assert response.status == 200
        return response.headers["Link"].removeprefix("<").partition("cursor=")[0]


async def test_pages_follow_each_other_with_the_path_and_without_it(
    under: aiohttp.ClientSession,
) -> None:
    for path in (PATH, f"/a/b{PATH}"):
        async with under.get(path) as response:
            link = re.fullmatch(r'<(/a/b/api/v1/[^>]+)>; rel="next"', response.headers["Link"])
        assert link is not None
        async with under.get(link[1]) as response:
            assert [row["value"] for row in await response.json()] == [1.0]
            assert "Link" not in response.headers


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/gputel", "/gputel"),
        ("/gputel/", "/gputel"),
        ("/one, /two", "/one/two"),
        ("", ""),
        ("/", ""),
        ("//evil.example", ""),
        ("/\\evil.example", ""),
        ("https://evil.example", ""),
        ("/../x", ""),
        ("/x>; rel=evil", ""),
        ("gputel", ""),
    ],
)
async def test_the_path_that_a_proxy_removed_and_told_begins_links(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, told: str, shown: str
) -> None:
    await add_block(pool, Labels(), [NOON, NOON + timedelta(seconds=1)], [1.0, 2.0])
    assert await next_page(client, PATH, told) == f"{shown}{PATH}&"
    async with client.get("/openapi.json", headers={"X-Forwarded-Prefix": told}) as response:
        (server,) = (await response.json())["servers"]
        assert server["url"] == (shown or "/")


async def test_a_proxy_before_a_proxy(under: aiohttp.ClientSession) -> None:
    assert await next_page(under, f"/a/b{PATH}", "/outer") == f"/outer/a/b{PATH}&"
    assert await next_page(under, PATH, "/outer") == f"/outer{PATH}&"


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [text for name, text in attrs if name in ("href", "src") and text]


@pytest.mark.parametrize("page", ["/", "/swagger"])
async def test_all_that_a_page_loads_and_links_to_is_under_the_path(
    under: aiohttp.ClientSession, page: str
) -> None:
    async with under.get(f"/a/b{page}") as response:
        assert response.status == 200
        html = _Addresses()
        html.feed(await response.text())
    paths = [urlsplit(urljoin(f"http://h/a/b{page}", each)).path for each in html.found]
    paths = [path for path in paths if path != ","]  # an icon of no bytes
    assert len(paths) >= 2
    for path in paths:
        assert path.startswith("/a/b/")
        async with under.get(path) as response:
            assert response.status != 404 or "vendor" in path


async def test_the_path_without_a_slash_leads_to_the_first_page(
    under: aiohttp.ClientSession,
) -> None:
    async with under.get("/a/b") as response:
        assert response.url.path == "/a/b/"
        assert response.status == 200


async def test_a_path_that_only_begins_alike_is_not_there(under: aiohttp.ClientSession) -> None:
    for path in ("/a/bx/healthz", "/a/healthz", "/a/b/a/b/healthz"):
        async with under.get(path) as response:
            assert response.status == 404


async def test_what_needs_a_token_needs_it_under_the_path_too(pool: asyncpg.Pool) -> None:
    tokens = [AccessToken.of("reader", [Scope.READ], "s" * 32)]
    settings = ApiSettings(api_port=0, base_path="/a")
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health(), Access(lambda: tokens)) as listener,
        aiohttp.ClientSession(listener.url) as session,
    ):
        for path, status in (("/a", 200), ("/a/", 200), ("/a/healthz", 200)):
            async with session.get(path) as response:
                assert response.status == status
        for path in ("/a/api/v1/gpus", "//a/api/v1/gpus", "/a//api/v1/gpus", "/a/%61pi/v1/gpus"):
            async with session.get(URL(listener.url + path, encoded=True)) as response:
                assert response.status in (401, 404)
