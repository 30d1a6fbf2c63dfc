"""What the application holds for its handlers."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gputel.store.reader import Reader

READER = web.AppKey("reader", Reader)
DOCUMENT = web.AppKey("document", dict[str, Any])
