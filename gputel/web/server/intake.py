"""Receiving of request bodies, with limits on their total size and on their time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import StreamReader, web

from gputel.errors import BadRequest, Busy, PayloadTooLarge, TooSlow
from gputel.web.server.patience import LEAST_BYTES_PER_S

SMALL_BYTES = 64 * 1024
"""Bodies up to this size always have room: a connection buffers as much anyway."""

CROWDED_BYTES_PER_S = 1024 * 1024
"""A peer that sends a body more slowly than this is cut off while others wait for room."""


@dataclass(frozen=True)
class BoundNames:
    """The names of the limits in refusals: a setting, and the role that has it."""

    body: str
    bodies: str
    time: str

    def too_large(self, max_bytes: int) -> PayloadTooLarge:
        """The refusal of a body over ``max_bytes``."""
        return PayloadTooLarge(
            f"the body is over {max_bytes} bytes ({self.body}): send less at once"
        )


_ROOM = web.RequestKey("room", int)


@dataclass(eq=False)
class _IncomingBody:
    """A body that is being received."""

    received: int = 0  # bytes of room that it takes
    looked_at: int | None = None  # ``received`` at the last look for slow bodies
    limit: asyncio.Timeout | None = None  # None while it waits for room
    crowded_out: bool = False
    turn: asyncio.Future[None] | None = None


class BodyIntake:
    """Room for the bodies of requests, until they are answered. Use it from one event loop only.

    A body takes room as its bytes come. If there is no room, it waits and is not read further; the
    first that waits is the first to go on. If no answer will give room back, the oldest body that
    is being received may go over the limit, so that bodies cannot block each other. Then the total
    is over the limit by at most one body. While bodies wait, the slowest sender below
    CROWDED_BYTES_PER_S is cut off.
    """

    def __init__(self, max_bytes: int, timeout_s: float, names: BoundNames) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._names = names
        self.taken_bytes = 0
        """Bytes of room that are taken."""
        self._receiving: dict[_IncomingBody, None] = {}  # oldest first
        self._line: dict[_IncomingBody, int] = {}  # bodies that wait, and the bytes they need
        self._look: asyncio.TimerHandle | None = None
        self._partial = 0  # bytes taken by bodies that are being received

    async def receive(self, request: web.Request, max_bytes: int) -> bytes:
        """The complete body. Raises PayloadTooLarge as soon as possible, else like ``read``."""
        length = request.content_length
        if length is not None and length > max_bytes:
            raise self._names.too_large(max_bytes)
        if not request.content.is_eof():
            return await self.read(request, max_bytes)
        try:
            return await request.read()  # all of it has come already
        except web.HTTPRequestEntityTooLarge:
            raise self._names.too_large(max_bytes) from None
        except web.RequestPayloadError as error:
            raise malformed(error) from None

    async def read(self, request: web.Request, max_bytes: int) -> bytes:
        """The complete body of a request that aiohttp reads.

        Its room is taken until ``let_go``, or until the task ends. The body has ``timeout_s`` to
        come. A large body has this time for each part of the size that LEAST_BYTES_PER_S gives. The
        wait for room has the same limit. Raises Busy, TooSlow, PayloadTooLarge, and BadRequest if
        the framing or compression is not what the headers say.
        """
        if _size(request, max_bytes) <= SMALL_BYTES:
            return await self._receive(request.content, None, max_bytes)
        body = _IncomingBody()
        self._receiving[body] = None
        try:
            data = await self._receive(request.content, body, max_bytes)
        except BaseException:
            self._ends(body)
            self.leave(body.received)
            raise
        request[_ROOM] = body.received
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: self.let_go(request))
        self._ends(body)
        self._admit()
        return data

    def let_go(self, request: web.Request) -> None:
        """Give back the room of a body that is not in memory any more. Idempotent."""
        self.leave(request.pop(_ROOM, 0))

    def take(self, size: int) -> bool:
        """Take room for so many bytes, until ``leave``. Returns False if there is not enough."""
        if self._line or not self._fits(size):
            return False
        self.taken_bytes += size
        return True

    def leave(self, size: int) -> None:
        """Give room back."""
        self.taken_bytes -= size
        self._admit()

    async def _receive(
        self, content: StreamReader, body: _IncomingBody | None, max_bytes: int
    ) -> bytes:
        loop = asyncio.get_running_loop()
        data = bytearray()
        step = due = int(LEAST_BYTES_PER_S * self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                if body is not None:
                    body.limit = limit
                while chunk := await content.readany():
                    data += chunk
                    if len(data) > max_bytes:
                        raise self._names.too_large(max_bytes)
                    waited = body is not None and await self._grow(body, len(chunk))
                    if waited or len(data) >= due:
                        due = len(data) + step
                        limit.reschedule(loop.time() + self._timeout_s)
        except TimeoutError:
            crowded_out = body is not None and body.crowded_out
            why = ", while others wait for room" if crowded_out else ""
            raise TooSlow(
                f"only {len(data)} bytes of the body came in time{why} ({self._names.time}): send "
                "it faster"
            ) from None
        except web.RequestPayloadError as error:
            raise malformed(error) from None
        return bytes(data)

    async def _grow(self, body: _IncomingBody, size: int) -> bool:
        """Take room for more of a body. Returns whether it had to wait. Raises Busy."""
        if (not self._line and self._fits(size)) or self._may_pass(body):
            self._grant(body, size)
            return False
        limit, body.limit = body.limit, None
        assert limit is not None
        limit.reschedule(None)
        self._line[body] = size
        body.turn = asyncio.get_running_loop().create_future()
        self._watch()
        try:
            async with asyncio.timeout(self._timeout_s):
                await body.turn
        except TimeoutError:
            raise Busy(
                f"the bodies of other requests take all of {self._max_bytes} bytes "
                f"({self._names.bodies}): try again"
            ) from None
        finally:
            self._line.pop(body, None)
            body.turn = None
        body.limit, body.looked_at = limit, None
        return True

    def _grant(self, body: _IncomingBody, size: int) -> None:
        self.taken_bytes += size
        self._partial += size
        body.received += size

    def _ends(self, body: _IncomingBody) -> None:
        """Note that a body is complete, or that its request has ended."""
        body.limit = None
        del self._receiving[body]
        self._partial -= body.received

    def _admit(self) -> None:
        for body in list(self._receiving)[:1]:
            if body in self._line and self._may_pass(body):
                self._call(body)
        while self._line:
            body = next(iter(self._line))
            if not self._fits(self._line[body]):
                return
            self._call(body)

    def _call(self, body: _IncomingBody) -> None:
        size = self._line.pop(body)
        if body.turn is not None and not body.turn.done():  # else its request has ended
            self._grant(body, size)
            body.turn.set_result(None)

    def _may_pass(self, body: _IncomingBody) -> bool:
        # A complete body will give its room back: then it is right to wait.
        return next(iter(self._receiving)) is body and self.taken_bytes == self._partial

    def _fits(self, size: int) -> bool:
        # A body that is larger than all the room is accepted if it is the only one.
        return not self.taken_bytes or self.taken_bytes + size <= self._max_bytes

    def _watch(self) -> None:
        if self._look is None:
            loop = asyncio.get_running_loop()
            for body in self._receiving:
                body.looked_at = body.received
            self._look = loop.call_later(self._timeout_s / 4, self._look_for_slow)

    def _look_for_slow(self) -> None:
        self._look = None
        if not self._line:
            return
        least = CROWDED_BYTES_PER_S * self._timeout_s / 4
        slow = [
            (body.received - body.looked_at, n, body)
            for n, body in enumerate(self._receiving)
            if body.limit is not None and body.looked_at is not None
        ]
        if slow and min(slow)[0] < least:
            _, _, slowest = min(slow)
            slowest.crowded_out = True
            assert slowest.limit is not None
            slowest.limit.reschedule(0)
        self._watch()


def malformed(error: Exception) -> BadRequest:
    """The refusal of a body whose framing or compression is wrong."""
    reason = " ".join(str(error).split())[:200] or "broken off"
    return BadRequest(f"the body is not framed or compressed as the headers say: {reason}")


def _size(request: web.Request, max_bytes: int) -> int:
    length = request.content_length
    if length is None or "Content-Encoding" in request.headers:
        return max_bytes
    return min(length, max_bytes)
