"""Makes segments ahead of need, and deletes those that are no longer needed."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from functools import partial

from gputel.errors import JournalFull
from gputel.mq.journal.files import JournalFiles
from gputel.mq.journal.records import HEADER_BYTES, Header, encode_header
from gputel.mq.journal.space import Segment, Space
from gputel.mq.journal.worker import JournalThread

log = logging.getLogger("gputel.journal")

_TRY_AGAIN_S = 0.5
_BLOCK = 4096


class Room:
    """Makes room in a journal, in its own thread. Calls ``refused`` when it cannot."""

    def __init__(self, files: JournalFiles, space: Space, refused: Callable[[], None]) -> None:
        self._files = files
        self._space = space
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._chores = JournalThread("journal-chores")
        self._making = False
        self._stopped = False
        self._refused_until = 0.0
        self._changed: asyncio.Future[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self.next_segment = 1
        self.lacking = ""
        """Why no segment can be made now; empty when one can."""

    async def wait_for(self, total: int, largest: int, check: Callable[[], None]) -> None:
        """Wait until there is room for messages of these sizes.

        Raises JournalFull, and the error that ``check`` raises after each wait.
        """
        while not self._space.has_room(total, largest):
            if self._loop.time() < self._refused_until:
                raise self.full(self.lacking)
            await self._more(total, largest)
            check()

    def full(self, why: str) -> JournalFull:
        """The error of a journal without room."""
        return JournalFull(
            f"the journal in {self._files.directory} has no room ({why}): free some "
            "space there, or let consumers ack; nothing was accepted"
        )

    def make_spare(self) -> None:
        """Make a spare segment if one is needed soon."""
        if self._making or self._stopped or not self._space.wants_spare():
            return
        if self._loop.time() < self._refused_until:
            if self._again is None:
                self._again = self._loop.call_later(_TRY_AGAIN_S, self._try_again)
            return
        self._make(self._space.segment_bytes)

    def remove(self, segments: Iterable[int]) -> None:
        """Delete segments that are no longer needed."""
        for number in segments:
            self._chores.submit(partial(self._files.remove, number), _log_error)

    def stop(self) -> None:
        """Make no more segments; wake the callers that wait for one."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
        self._wake()

    async def close(self) -> None:
        """Wait until segments are made and deleted."""
        await self._chores.stop()

    # ------------------------------------------------------------------ inside

    async def _more(self, total: int, largest: int) -> None:
        if self._changed is None or self._changed.done():
            self._changed = self._loop.create_future()
        if not self._making:
            space = self._space
            fits = total + largest + space.reserve + space.margin + space.promised + HEADER_BYTES
            self._make(max(space.segment_bytes, fits if largest > space.segment_bytes // 2 else 0))
        await asyncio.shield(self._changed)

    def _try_again(self) -> None:
        self._again = None
        self.make_spare()

    def _make(self, size: int) -> None:
        self._making = True
        header = new_header(self.next_segment, size)
        self.next_segment += 1

        def done(error: BaseException | None) -> None:
            self._made(Segment(header), error)

        self._chores.submit(
            lambda: self._files.create(header.segment, header.size, encode_header(header)), done
        )

    def _made(self, segment: Segment, error: BaseException | None) -> None:
        self._making = False
        if error is None:
            self._space.spares.append(segment)
            if self.lacking:
                log.info("the journal has room again")
            self.lacking = ""
            self._refused_until = 0.0
        else:
            # Use the number again: with a gap, a later reader would report a missing segment.
            self.next_segment = segment.number
            if not self.lacking:
                log.warning("the journal cannot grow: %s", error)
            self.lacking = str(error)
            self._refused_until = self._loop.time() + _TRY_AGAIN_S
            self._refused()
        self._wake()
        self.make_spare()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


def new_header(number: int, size: int) -> Header:
    """The header of a segment of ``size`` bytes, rounded up to a block."""
    return Header(number, -(-size // _BLOCK) * _BLOCK, secrets.token_bytes(8))


def _log_error(error: BaseException | None) -> None:
    if error is not None:
        log.warning("cannot delete a journal segment that is no longer needed: %s", error)
