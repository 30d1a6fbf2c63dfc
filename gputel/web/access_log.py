"""The access log: one line for each request that a server answers."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from gputel.web.headers.added import SHOWN

log = logging.getLogger("gputel.access")

_CHARS = 500


class AccessLog(AbstractAccessLogger):
    """Lines of ``client "METHOD path" status bytes seconds token "user agent"``.

    Bytes are all that were sent, with the head. The path is that without ``--base-path``.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line of one request."""
        token = request.get(SHOWN)
        self.logger.info(
            '%s "%s %s" %d %d %.3f %s "%s"',
            request.remote or "-",
            request.method,
            request.raw_path[:_CHARS],
            response.status,
            response.body_length,
            time,
            getattr(token, "name", "-"),
            request.headers.get("User-Agent", "-")[:_CHARS],
        )
