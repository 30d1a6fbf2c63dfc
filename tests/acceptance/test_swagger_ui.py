"""Swagger UI in a real browser; skipped where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.web import static_files
from gputel.web.health import Health
from gputel.web.server.listener import Listener
from tests.helpers.browser import BROWSER, Page, open_page
from tests.helpers.telemetry_rows import Labels, add_block

OPERATION = "#operations-telemetry-list_gpus"
STATUS = ".live-responses-table tbody .response-col_status"
# An operation is shown before what it refers to was looked up, and cannot be run till then.
RESOLVED = "!!ui.specSelectors.specResolvedSubtree(['paths', '/api/v1/gpus', 'get'])"

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
    pytest.mark.skipif(
        not static_files.vendored("swagger-ui/swagger-ui-bundle.js"),
        reason="Swagger UI is not fetched: make assets",
    ),
]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with open_page(tmp_path) as page:
        yield page


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[Listener]:
    await add_block(pool, Labels(), [datetime(2025, 7, 18, tzinfo=UTC)], [1])
    settings = ApiSettings(api_port=0, base_path="/gputel")
    async with serve(settings, "127.0.0.1", Reader(pool), Health()) as listener:
        yield listener


@pytest.mark.parametrize("base_path", ["", "/gputel"])
async def test_swagger_ui_runs_a_request_and_asks_nothing_outside_of_its_path(
    api: Listener, page: Page, base_path: str
) -> None:
    root = f"{api.url}{base_path}/"
    await page.send("Network.enable")
    await page.send("Log.enable")
    await page.send("Runtime.enable")
    await page.send("Page.navigate", url=f"{root}swagger")
    await page.click(f"{OPERATION} .opblock-summary-control")
    await page.until(RESOLVED)
    await page.click(f"{OPERATION} .execute")
    await page.until(f"!!document.querySelector('{OPERATION} {STATUS}')")
    status = await page.evaluate(f"document.querySelector('{OPERATION} {STATUS}').innerText")
    assert status.split()[0] == "200"
    assert "GPU-a" in await page.evaluate(f"document.querySelector('{OPERATION}').innerText")
    asked = [
        event["params"]["request"]["url"]
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) >= 5
    assert [url for url in asked if not url.startswith((root, "data:"))] == []
    assert page.problems() == []
