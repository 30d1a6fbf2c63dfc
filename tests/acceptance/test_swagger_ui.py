"""Swagger UI in a real browser, driven over the DevTools protocol; skipped where there is none.

Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config import ApiSettings
from gputel.store.reader import Reader
from gputel.web import static_files
from gputel.web.health import Health
from gputel.web.listener import Listener
from tests.telemetry_rows import Labels, add_block

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
OPERATION = "#operations-telemetry-list_gpus"
STATUS = ".live-responses-table tbody .response-col_status"

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
    pytest.mark.skipif(
        not static_files.vendored("swagger-ui/swagger-ui-bundle.js"),
        reason="Swagger UI is not fetched: make assets",
    ),
]


class Page:
    """One tab: sends commands, keeps the events that come between."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._sent = 0
        self.events: list[dict[str, Any]] = []

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._sent += 1
        await self._socket.send_json({"id": self._sent, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._sent:
                return message["result"]
            self.events.append(message)

    async def evaluate(self, script: str) -> Any:
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of the script, once it has one that counts as true."""
        while not (value := await self.evaluate(script)):
            await asyncio.sleep(0.1)
        return value

    async def click(self, selector: str) -> None:
        await self.until(f"!!document.querySelector('{selector}')")
        await self.evaluate(f"document.querySelector('{selector}').click()")


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    assert BROWSER is not None
    process = await asyncio.create_subprocess_exec(
        *(BROWSER, *FLAGS, f"--user-data-dir={tmp_path}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port_file = tmp_path / "DevToolsActivePort"
        while not port_file.exists() or "\n" not in port_file.read_text():
            await asyncio.sleep(0.05)
        address = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/json") as response:
                tabs = await response.json(content_type=None)
            url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[Listener]:
    await add_block(pool, Labels(), [datetime(2025, 7, 18, tzinfo=UTC)], [1])
    async with serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health()) as listener:
        yield listener


async def test_swagger_ui_runs_a_request_and_asks_no_other_site(api: Listener, page: Page) -> None:
    await page.send("Network.enable")
    await page.send("Log.enable")
    await page.send("Runtime.enable")
    await page.send("Page.navigate", url=f"{api.url}/swagger")
    await page.click(f"{OPERATION} .opblock-summary-control")
    await page.click(f"{OPERATION} .execute")
    await page.until(f"!!document.querySelector('{OPERATION} .live-responses-table')")
    status = await page.evaluate(f"document.querySelector('{OPERATION} {STATUS}').innerText")
    assert status.split()[0] == "200"
    assert "GPU-a" in await page.evaluate(f"document.querySelector('{OPERATION}').innerText")
    asked = [
        event["params"]["request"]["url"]
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) >= 5
    assert [url for url in asked if not url.startswith((api.url, "data:"))] == []
    problems = ("Log.entryAdded", "Runtime.exceptionThrown")
    assert [event for event in page.events if event["method"] in problems] == []
