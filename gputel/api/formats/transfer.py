"""Bytes to a client, piece by piece."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

log = logging.getLogger("gputel.api")


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write, and wait until the client takes it. The server closes a connection that stalls."""
    if data:
        await response.write(data)
        # A write that finds room does not wait, and other requests would starve.
        await asyncio.sleep(0)


def break_off(request: web.Request, error: Exception) -> None:
    """Cut the connection without the end of the transfer, so that the client sees the failure."""
    log.warning("broke off the answer to %s: %s", request.path, error)
    if request.transport is not None:
        request.transport.abort()
