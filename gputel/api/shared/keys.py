"""Application keys that most handlers use. Other keys stand beside the classes they hold."""

from __future__ import annotations

from aiohttp import web

from gputel.store.limits import Limits
from gputel.store.read.reader import Reader
from gputel.store.read.view import Views

VIEWS: web.AppKey[Views] = web.AppKey("views")
READER = web.AppKey("reader", Reader)
LIMITS = web.AppKey("limits", Limits)
