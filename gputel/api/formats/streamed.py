"""Answers that are sent while they are read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from gputel.api.formats.compression import compressor
from gputel.api.formats.encoder import Encoder
from gputel.api.formats.whole import Asked, Headers
from gputel.errors import GputelError
from gputel.store.read.records import Records
from gputel.threads import READING

log = logging.getLogger("gputel.api")

_FIRST_PIECES = 2  # encoded together, before the headers are sent


async def streamed(
    asked: Asked,
    encoder: Encoder,
    first: Sequence[Records],
    pieces: AsyncIterator[Records],
    headers: Headers,
) -> web.StreamResponse:
    """The first pieces, then the others as they come."""
    outgoing = _Outgoing(encoder, asked.coding)
    with asked.timing.phase("encode"):
        data = await outgoing.first(first[:_FIRST_PIECES])
    response = web.StreamResponse(headers=asked.headers(headers))
    if asked.coding is not None:
        response.headers["Content-Encoding"] = asked.coding
    await response.prepare(asked.request)
    try:
        await write(response, data)
        for records in first[_FIRST_PIECES:]:
            await write(response, await outgoing.next(records))
        async for records in pieces:
            await write(response, await outgoing.next(records))
        await write(response, await outgoing.last())
    except GputelError as error:
        break_off(asked.request, error)
    return response


class _Outgoing:
    """The bytes of a streamed answer, encoded and compressed in a thread."""

    def __init__(self, encoder: Encoder, coding: str | None) -> None:
        self._encoder = encoder
        self._compressor = compressor(coding) if coding is not None else None

    async def first(self, found: Sequence[Records]) -> bytes:
        """The beginning, and the first pieces."""
        return await READING.run(self._first, found)

    async def next(self, records: Records) -> bytes:
        """Another piece."""
        return await READING.run(self._next, records)

    async def last(self) -> bytes:
        """The end."""
        return await READING.run(self._last)

    def _first(self, found: Sequence[Records]) -> bytes:
        return self._packed(
            b"".join([self._encoder.start(), *(self._encoder.add(records) for records in found)])
        )

    def _next(self, records: Records) -> bytes:
        return self._packed(self._encoder.add(records))

    def _last(self) -> bytes:
        end = self._packed(self._encoder.end())
        return end + self._compressor.end() if self._compressor is not None else end

    def _packed(self, data: bytes) -> bytes:
        return self._compressor.add(data) if self._compressor is not None else data


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write, and wait for the client to take it: its connection ends where it takes nothing."""
    if data:
        await response.write(data)
        # A write that finds room does not wait, and other requests would starve.
        await asyncio.sleep(0)


def break_off(request: web.Request, error: Exception) -> None:
    """Cut the connection without the end of the transfer, so that the client sees it is broken."""
    log.warning("broke off the answer to %s: %s", request.path, error)
    if request.transport is not None:
        request.transport.abort()
