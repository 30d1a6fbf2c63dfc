"""The live stream as ``EventSource`` of a real browser reads it, from a page of another site."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.web.health import Health
from tests.helpers.batches import steady
from tests.helpers.browser import BROWSER, open_page
from tests.helpers.processes import free_port
from tests.integration.api.conftest import Land

FOLLOW = """
window.seen = [];
const source = new EventSource("%s/api/v1/stream?metric=T*");
source.onopen = () => seen.push("open");
source.onmessage = (event) => seen.push(JSON.parse(event.data).value);
source.addEventListener("gap", () => seen.push("gap"));
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
async def test_a_browser_gets_each_record_once_over_a_restart(
    pool: asyncpg.Pool, land: Land, tmp_path: Path
) -> None:
    settings = ApiSettings(api_port=free_port(), cors_origins="*")
    url = f"http://127.0.0.1:{settings.api_port}"
    async with open_page(tmp_path) as page:
        async with serve(settings, "127.0.0.1", Reader(pool), Health()):
            await page.evaluate(FOLLOW % url)
            await page.until("seen.includes('open')")
            await land(steady(3))
            await page.until("seen.length == 4")
        await land(steady(2, "GPU-b"))
        async with serve(settings, "127.0.0.1", Reader(pool), Health()):
            await page.until("seen.length == 7")
            await land(steady(1, "GPU-c"))
            await page.until("seen.length == 8")
        assert await page.evaluate("seen.join()") == "open,0,1,2,open,0,1,0"
