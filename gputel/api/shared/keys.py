"""What the application holds for its handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from gputel.api.prometheus.asks import Prometheus
from gputel.api.push.pusher import Pusher
from gputel.api.stream.tail import Tail
from gputel.store.limits import Limits
from gputel.store.read.reader import Reader

READER = web.AppKey("reader", Reader)
LIMITS = web.AppKey("limits", Limits)
PROMETHEUS = web.AppKey("prometheus", Prometheus)
TAIL = web.AppKey("tail", Tail)
PUSHER = web.AppKey("pusher", Pusher)
DOCUMENT: web.AppKey[Callable[[], dict[str, Any]]] = web.AppKey("document")
"""Makes the API's document when it is first asked for."""
