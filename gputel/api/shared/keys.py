"""What the application holds for most of its handlers; other keys stand beside their owners."""

from __future__ import annotations

from aiohttp import web

from gputel.store.limits import Limits
from gputel.store.read.reader import Reader

READER = web.AppKey("reader", Reader)
LIMITS = web.AppKey("limits", Limits)
