"""Request bodies on their way in: so many bytes at once, and none of them for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import StreamReader, web

from gputel.errors import BadRequest, Busy, PayloadTooLarge, TooSlow
from gputel.web.connection import LEAST_BYTES_PER_S

SMALL_BYTES = 64 * 1024
"""Bodies up to this are always let in; a connection buffers as much in any case."""


@dataclass(frozen=True)
class Told:
    """What refusals call the bounds: each a setting, and whose it is."""

    body: str
    bodies: str
    time: str

    def too_large(self, max_bytes: int) -> PayloadTooLarge:
        """The refusal of a body over ``max_bytes``."""
        return PayloadTooLarge(
            f"the body is over {max_bytes} bytes ({self.body}): send less at once"
        )


class Intake:
    """Room for the bodies of requests, until they are answered. Use it from one event loop only.

    A body that finds no room waits for it outside, unread, in the order of coming. Its size is
    what its head says, or the most that is taken when the head does not say.
    """

    def __init__(self, max_bytes: int, timeout_s: float, told: Told) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._told = told
        self._held = 0
        self._line: dict[asyncio.Future[None], int] = {}

    async def whole(self, request: web.Request, max_bytes: int) -> bytes:
        """The whole body. Raises PayloadTooLarge as early as that is known, else as ``read``."""
        length = request.content_length
        if length is not None and length > max_bytes:
            raise self._told.too_large(max_bytes)
        if not request.content.is_eof():
            return await self.read(request, max_bytes)
        try:
            return await request.read()  # it is here already
        except web.HTTPRequestEntityTooLarge:
            raise self._told.too_large(max_bytes) from None
        except web.RequestPayloadError as error:
            raise malformed(error) from None

    async def read(self, request: web.Request, max_bytes: int) -> bytes:
        """The whole body of a request that aiohttp reads; its room is kept until the task ends.

        Waits ``timeout_s`` for room; then as long for the body, or for so much of it as a peer of
        LEAST_BYTES_PER_S would send, again and again. Raises Busy, TooSlow, PayloadTooLarge, and
        BadRequest for a body that is not framed or compressed as it says.
        """
        size = _size(request, max_bytes)
        if size <= SMALL_BYTES:
            return await self._receive(request.content, size, max_bytes)
        await self._enter(size)
        left = size
        try:
            body = await self._receive(request.content, size, max_bytes)
            left = len(body)
        finally:
            self.leave(size - left)
            task = asyncio.current_task()
            assert task is not None
            task.add_done_callback(lambda _: self.leave(left))
        return body

    def take(self, size: int) -> bool:
        """Whether a body of so many bytes is let in at once; then ``leave`` when it is answered."""
        if self._line or not self._fits(size):
            return False
        self._held += size
        return True

    def leave(self, size: int) -> None:
        """Give room back."""
        self._held -= size
        self._admit()

    async def _receive(self, content: StreamReader, size: int, max_bytes: int) -> bytes:
        content.set_read_chunk_size(size)  # never paused: there is room for it
        loop = asyncio.get_running_loop()
        body = bytearray()
        step = due = int(LEAST_BYTES_PER_S * self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                while chunk := await content.readany():
                    body += chunk
                    if len(body) > max_bytes:
                        raise self._told.too_large(max_bytes)
                    if len(body) >= due:
                        due = len(body) + step
                        limit.reschedule(loop.time() + self._timeout_s)
        except TimeoutError:
            raise TooSlow(
                f"only {len(body)} bytes of the body came in time ({self._told.time}): send it "
                "faster"
            ) from None
        except web.RequestPayloadError as error:
            raise malformed(error) from None
        return bytes(body)

    async def _enter(self, size: int) -> None:
        if self.take(size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._line[turn] = size
        try:
            async with asyncio.timeout(self._timeout_s):
                await turn
        except BaseException as error:
            if self._line.pop(turn, None) is None:
                self.leave(size)
            else:
                self._admit()
            if isinstance(error, TimeoutError):
                raise Busy(
                    f"other requests' bodies hold all of {self._max_bytes} bytes "
                    f"({self._told.bodies}): try again"
                ) from None
            raise

    def _admit(self) -> None:
        while self._line:
            turn, size = next(iter(self._line.items()))
            if not self._fits(size):
                return
            del self._line[turn]
            self._held += size
            if not turn.done():  # else its request is leaving, and gives the room back
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        # A body that is larger than all the room is let in alone.
        return not self._held or self._held + size <= self._max_bytes


def malformed(error: Exception) -> BadRequest:
    """The refusal of a body that HTTP itself cannot read."""
    reason = " ".join(str(error).split())[:200] or "broken off"
    return BadRequest(f"the body is not framed or compressed as its head says: {reason}")


def _size(request: web.Request, max_bytes: int) -> int:
    length = request.content_length
    if length is None or "Content-Encoding" in request.headers:
        return max_bytes
    return min(length, max_bytes)
