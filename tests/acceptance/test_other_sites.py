"""A page of another site in a real browser, beside a broker with its default settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gputel.broker.server import serve
from gputel.config.settings import BrokerSettings
from gputel.web.health import Health
from gputel.web.server.listener import Listener, listen
from tests.helpers.browser import BROWSER, Page, open_page

REBOUND = "rebound.evil.example"  # a name of the attacker's, which points at this machine

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")

ATTACK = """
window.sent = 0;
const body = '{"payload": "x"}';
for (const url of ['BROKER/publish', 'BROKER/admin/drain', 'BROKER/dead-letters/purge'])
  for (const sent of [body, new Blob([body]), new URLSearchParams({payload: 'x'}), new FormData()])
    fetch(url, {method: 'POST', mode: 'no-cors', body: url.endsWith('drain') ? undefined : sent})
      .finally(() => sent && window.sent++);
"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    rules = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    async with open_page(tmp_path, rules) as page:
        yield page


@pytest.fixture
async def broker() -> AsyncIterator[Listener]:
    settings = BrokerSettings(broker_port=0)
    async with serve(settings, "127.0.0.1", Health(), drain_deadline_s=1) as listener:
        yield listener


@pytest.fixture
async def other_site() -> AsyncIterator[str]:
    async def show(_request: web.Request) -> web.Response:
        return web.Response(text="<p id=here>another site</p>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    async with listen(app, "127.0.0.1", 0, "--port") as listener:
        yield listener.url


async def stats(broker: Listener) -> tuple[int, bool]:
    import aiohttp

    async with aiohttp.ClientSession(broker.url) as client, client.get("/stats") as reply:
        found = await reply.json()
    return found["published"], found["closed"]


async def test_a_page_of_another_site_publishes_and_drains_nothing(
    broker: Listener, other_site: str, page: Page
) -> None:
    await page.send("Page.navigate", url=other_site)
    await page.until("!!document.querySelector('#here')")
    await page.evaluate(ATTACK.replace("BROKER", broker.url))
    await page.until("window.sent == 12")
    assert await stats(broker) == (0, False)


async def test_a_page_whose_name_was_pointed_here_reads_and_changes_nothing(
    broker: Listener, page: Page
) -> None:
    await page.send("Page.enable")
    await page.send("Page.setBypassCSP", enabled=True)  # which lets a refusal do nothing
    base = f"http://{REBOUND}:{broker.port}"
    await page.send("Page.navigate", url=f"{base}/stats")
    await page.until("document.body && document.body.innerText.includes('host_not_allowed')")
    json = "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}"
    await page.evaluate(
        f"fetch('/admin/drain', {json}).then(r => r.json()).then(r => window.code = r.code)"
    )
    assert await page.until("window.code") == "host_not_allowed"
    assert await stats(broker) == (0, False)


async def test_a_page_of_the_broker_itself_may_publish(broker: Listener, page: Page) -> None:
    await page.send("Page.navigate", url=f"{broker.url}/stats")
    await page.until("document.body && document.body.innerText.includes('published')")
    sent = "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: BODY}"
    body = """'{"id": "a", "payload": "x"}'"""
    await page.evaluate(
        f"fetch('/publish', {sent.replace('BODY', body)}).then(r => window.status_ = r.status)"
    )
    assert await page.until("window.status_") == 202
    async with asyncio.timeout(60):
        assert await stats(broker) == (1, False)
