"""The journal: what makes a broker's messages outlive its process.

Messages, and what becomes of them, are appended to segment files; ``journal_records`` has their
bytes and ``docs/journal.md`` the promises. All state lives on the event loop; two threads touch
the disk, one for commits and one for making and deleting segments.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gputel.errors import JournalBroken, JournalFull
from gputel.mq.journal_files import JournalFiles, lock_directory
from gputel.mq.journal_records import (
    HEADER_BYTES,
    Died,
    Header,
    Kind,
    Stored,
    encode_body,
    encode_header,
    encode_record,
    pack_numbers,
    padded,
    room_of,
    shares,
)
from gputel.mq.journal_recovery import Recovered, recover
from gputel.mq.journal_space import Entry, Segment, Space
from gputel.mq.journal_worker import Committer, Worker, Write

log = logging.getLogger("gputel.journal")

Observe = Callable[[float, float | None], None]
"""Told of each commit: its seconds, and those of its sync, None when it had none."""

_LIST_MOST = 4096
_REWRITE_BYTES = 256 * 1024
_RECORD_BYTES = 64 * 1024  # of several messages; what a flipped bit can cost
_TRY_AGAIN_S = 0.5
_SKIP_NUMBERS = 1_000_000
"""Left out after a start: a record that was lost may have held some of the next numbers."""


@dataclass(frozen=True)
class JournalOptions:
    """How a journal is kept. ``sync`` is ``always``, ``interval`` or ``off``."""

    sync: str = "always"
    sync_interval_s: float = 0.1
    segment_bytes: int = 32 * 1024 * 1024


class Journal:
    """A journal that is open for writing, from one event loop. Make it with ``open_journal``.

    ``snapshot`` gives the present state of a message that lives; compaction asks for it.
    """

    def __init__(
        self,
        files: JournalFiles,
        options: JournalOptions,
        snapshot: Callable[[Entry], Stored],
        observe: Observe = lambda _commit_s, _sync_s: None,
    ) -> None:
        self._files = files
        self._options = options
        self._snapshot = snapshot
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._commits = Worker("journal-commit")
        self._chores = Worker("journal-chores")
        self._committer = Committer(files)
        self._lock: int | None = None
        self.space = Space(options.segment_bytes)
        self.broken = ""
        self._sequence = 0
        self._number = 0
        self._next_segment = 1
        self._making = False
        self._refused_until = 0.0
        self._refused_why = ""
        self._room_changed: asyncio.Future[None] | None = None
        self._pieces: list[tuple[Segment, int, list[bytes]]] = []
        self._record: list[tuple[Entry, Stored]] = []  # messages that will share a record
        self._rooms: list[int] = []  # of each of them
        self._record_bytes = 0
        self._settled: list[int] = []
        self._attempts: dict[int, int] = {}
        self._urgent = False  # whether somebody may wait for what is pending
        self._next = self._loop.create_future()
        self._running: asyncio.Future[None] | None = None
        self._scheduled = False
        self._trimmed: list[int] = []
        self._by_number: dict[int, Segment] = {}  # while messages that were recovered are taken up
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        self.commits = 0
        self.rewritten_bytes = 0

    # ------------------------------------------------------------------ what happens to messages

    async def admit(self, total: int, largest: int) -> int:
        """Promise room for messages that take ``total`` bytes at most, the largest ``largest``.

        Gives what ``release`` takes back. Waits while a segment is being made. Raises JournalFull,
        and JournalBroken.
        """
        self.check()
        if self._committer.stalled:
            raise self._full("a write finds the disk full")
        largest = max(largest, min(total, _RECORD_BYTES))
        while not self.space.has_room(total, largest):
            if self._loop.time() < self._refused_until:
                raise self._full(self._refused_why)
            await self._more_room(total, largest)
            self.check()
        amount = total + largest
        self.space.promised += amount
        self.space.largest = max(self.space.largest, largest)
        return amount

    def release(self, amount: int) -> None:
        """Take back a promise: what it was for has been appended, or will not be."""
        self._close_record()
        self.space.promised -= amount
        if not self.space.promised:
            self.space.largest = 0
        self._make_spare()

    def take_number(self) -> int:
        """A number that no message had, greater than all before it; also an order."""
        self._number += 1
        return self._number

    def append(self, entry: Entry, stored: Stored) -> None:
        """Write down a message, new or as it has become. Its room must have been admitted.

        Messages that come one after another share a record, up to a size; ``release`` ends it.
        """
        if entry.segment is None:
            self.space.live += 1
        room = room_of(stored)
        if self._record_bytes + room > _RECORD_BYTES:
            self._close_record()
        self._record.append((entry, stored))
        self._rooms.append(room)
        self._record_bytes += room
        self._schedule()

    def settle(self, entry: Entry) -> None:
        """Write down that a message ended: it never comes back."""
        self._close_record()
        if entry.segment is None:
            return
        entry.segment.drop(entry)
        self._attempts.pop(entry.number, None)
        self._settled.append(entry.number)
        self._urgent = True
        self._schedule()

    def attempted(self, entry: Entry, attempts: int) -> None:
        """Write down how often a message was delivered. Nobody waits for this to be synced."""
        self._attempts[entry.number] = attempts
        self._schedule()

    def died(self, entry: Entry, died: Died) -> None:
        """Write down a dead letter. On a full disk this is left out: it then comes back ready."""
        self._close_record()
        body = encode_body(died)
        if self.space.can_rewrite(padded(len(body))):
            self._append(Kind.DEAD, body)
            self._urgent = True

    def replayed(self, entry: Entry) -> None:
        """Write down that a dead letter is ready again, behind all others; sets its order."""
        self._close_record()
        entry.order = self.take_number()
        self._attempts.pop(entry.number, None)
        if self.space.can_rewrite(padded(16)):
            self._append(Kind.REPLAYED, pack_numbers([entry.number, entry.order]))
            self._urgent = True

    # ------------------------------------------------------------------ confirmation

    async def confirm(self) -> None:
        """Wait until all that was written down before this call is as safe as ``sync`` says.

        Raises JournalBroken.
        """
        self.check()
        waits_for = self._next if self._urgent else self._running
        if waits_for is not None:
            await asyncio.shield(waits_for)
            self.check()

    def check(self) -> None:
        """Raise JournalBroken when the journal can no longer be trusted."""
        if self.broken:
            raise JournalBroken(self.broken)

    # ------------------------------------------------------------------ records and commits

    def _close_record(self) -> None:
        if not self._record:
            return
        record, rooms = self._record, self._rooms
        self._record, self._rooms, self._record_bytes = [], [], 0
        body = encode_body([stored for _, stored in record])
        segment = self._append(Kind.MESSAGES, body)
        for (entry, _), size in zip(record, shares(padded(len(body)), rooms), strict=True):
            segment.hold(entry, size)
        self._urgent = True

    def _append(self, kind: Kind, body: bytes) -> Segment:
        size = padded(len(body))
        try:
            segment, at = self.space.place(size)
        except LookupError as error:
            self._break(str(error))
            raise JournalBroken(self.broken) from None
        self._sequence += 1
        data = encode_record(kind, self._sequence, body, segment.seed)
        if self._pieces and self._pieces[-1][0] is segment:
            self._pieces[-1][2].append(data)
        else:
            self._pieces.append((segment, at, [data]))
        self._schedule()
        return segment

    def _schedule(self) -> None:
        if not self._scheduled and self._running is None and not self.broken:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._running is not None or self.broken:
            return
        with suppress(JournalBroken):
            self._close_record()
            self._append_lists()
        if not self._pieces:
            self._nothing_to_commit()
            return
        writes = [Write(s.number, at, b"".join(data)) for s, at, data in self._pieces]
        urgent, trimmed = self._urgent, self._trimmed
        self._pieces, self._urgent, self._trimmed = [], False, []
        self._running, self._next = self._next, self._loop.create_future()
        policy = self._options.sync
        # What was moved out of a segment must be on the disk before the segment goes.
        sync = (policy == "always" and urgent) or (policy == "interval" and bool(trimmed))
        self._commit(writes, trimmed, sync=sync)

    def _nothing_to_commit(self) -> None:
        self._urgent = False
        if not self._next.done():
            self._next.set_result(None)
        self._next = self._loop.create_future()

    def _append_lists(self) -> None:
        for numbers in _slices(self._settled, _LIST_MOST):
            self._append(Kind.SETTLED, pack_numbers(numbers))
        self.space.live -= len(self._settled)  # until here they keep their part of the reserve
        self._settled.clear()
        pairs = [number for pair in self._attempts.items() for number in pair]
        self._attempts.clear()
        for numbers in _slices(pairs, _LIST_MOST):
            if self.space.can_rewrite(padded(8 * len(numbers))):
                self._append(Kind.ATTEMPTS, pack_numbers(numbers))

    def _commit(self, writes: list[Write], trimmed: list[int], *, sync: bool) -> None:
        assert self.space.current is not None
        current = self.space.current.number

        def done(error: BaseException | None) -> None:
            self._committed(error, trimmed, synced=sync)

        self._commits.submit(lambda: self._committer.commit(writes, current, sync=sync), done)

    def _committed(self, error: BaseException | None, trimmed: list[int], *, synced: bool) -> None:
        running, self._running = self._running, None
        if error is not None:
            self._break(f"{error}")
        if running is not None and not running.done():
            running.set_result(None)  # whoever waits looks at ``broken`` then
        if self.broken:
            return
        self.commits += 1
        self._observe(self._committer.seconds, self._committer.sync_seconds)
        self._remove(trimmed)
        if not synced and self._options.sync == "interval":
            self._later("sync", self._options.sync_interval_s, self._sync_now)
        self._compact()
        self._make_spare()
        if self._pieces or self._settled or self._attempts:
            self._flush()

    def _sync_now(self) -> None:
        if self._running is not None or self.broken:
            self._later("sync", self._options.sync_interval_s, self._sync_now)
            return
        self._running = self._loop.create_future()
        self._commit([], [], sync=True)

    def _break(self, why: str) -> None:
        if self.broken:
            return
        self.broken = (
            f"the journal in {self._files.directory} can no longer be trusted ({why}): nothing "
            "is confirmed any more; see to the disk, then start the broker again"
        )
        log.error("%s", self.broken)
        for waiting in (self._next, self._running, self._room_changed):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    # ------------------------------------------------------------------ room

    async def _more_room(self, total: int, largest: int) -> None:
        if self._room_changed is None or self._room_changed.done():
            self._room_changed = self._loop.create_future()
        if not self._making:
            space = self.space
            fits = total + largest + space.reserve + space.margin + space.promised + HEADER_BYTES
            self._make(max(space.segment_bytes, fits if largest > space.segment_bytes // 2 else 0))
        await asyncio.shield(self._room_changed)

    def _make_spare(self) -> None:
        if self._making or self.broken or self._closed or not self.space.wants_spare():
            return
        if self._loop.time() < self._refused_until:
            self._later("spare", _TRY_AGAIN_S, self._make_spare)
            return
        self._make(self.space.segment_bytes)

    def _make(self, size: int) -> None:
        self._making = True
        header = self._new_header(size)

        def done(error: BaseException | None) -> None:
            self._made(Segment(header), error)

        self._chores.submit(
            lambda: self._files.create(header.segment, header.size, encode_header(header)), done
        )

    def _new_header(self, size: int) -> Header:
        number, self._next_segment = self._next_segment, self._next_segment + 1
        return Header(number, -(-size // 4096) * 4096, secrets.token_bytes(8))

    def _made(self, segment: Segment, error: BaseException | None) -> None:
        self._making = False
        if error is None:
            self.space.spares.append(segment)
            if self._refused_why:
                log.info("the journal has room again")
            self._refused_why = ""
            self._refused_until = 0.0
        else:
            # The number was never used: without this, a later reader would miss a segment.
            self._next_segment = segment.number
            self._refuse(error)
        if self._room_changed is not None and not self._room_changed.done():
            self._room_changed.set_result(None)
        self._make_spare()

    def _refuse(self, error: BaseException) -> None:
        if not self._refused_why:
            log.warning("the journal cannot grow: %s", error)
        self._refused_why = str(error)
        self._refused_until = self._loop.time() + _TRY_AGAIN_S
        self._compact()

    def _full(self, why: str) -> JournalFull:
        return JournalFull(
            f"the journal in {self._files.directory} has no room ({why}): free some "
            "space there, or let consumers ack; nothing was accepted"
        )

    # ------------------------------------------------------------------ compaction

    def _compact(self) -> None:
        space = self.space
        empty = space.pop_empty()
        if empty:
            oldest = space.sealed[0] if space.sealed else space.current
            assert oldest is not None
            self._append(Kind.TRIMMED, pack_numbers([oldest.number]))
            self._urgent = True  # it must be on the disk before the files go
            self._trimmed += [segment.number for segment in empty]
            return
        segment = space.to_rewrite(full=bool(self._refused_why))
        if segment is not None:
            self._rewrite(segment)

    def _rewrite(self, segment: Segment) -> None:
        """Move some of what lives in a segment to the head; after the commit comes the rest."""
        done = 0
        for entry in list(segment.live.values()):
            stored = self._snapshot(entry)
            room = room_of(stored)
            if done >= _REWRITE_BYTES or not self.space.can_rewrite(done + room):
                break
            self.append(entry, stored)
            done += room
            self.rewritten_bytes += entry.size
        self._close_record()

    def _remove(self, segments: Iterable[int]) -> None:
        for number in segments:
            self._chores.submit(partial(self._files.remove, number), _tell)

    # ------------------------------------------------------------------ start and stop

    def begin(self, recovered: Recovered, lock: int, first: Segment) -> None:
        """Go on behind what was recovered, in a segment that was made for it, or its last one."""
        self._lock = lock
        self._sequence = recovered.sequence
        self._number = recovered.number + _SKIP_NUMBERS
        self._next_segment = first.number + 1
        for number in recovered.segments:
            if number == first.number:
                continue
            old = Segment(Header(number, recovered.sizes[number], b""))
            old.at = old.size
            self.space.sealed.append(old)
        self.space.current = first
        self._by_number = {old.number: old for old in [*self.space.sealed, first]}
        for torn in recovered.torn:
            number = int(torn.path.stem)
            self._append(Kind.SEALED, pack_numbers([number, torn.offset]))

    def hold(self, entry: Entry, segment: int, size: int) -> None:
        """Take up a message that was recovered."""
        self._by_number[segment].hold(entry, size)
        self.space.live += 1

    async def ready(self) -> None:
        """End the start: all recovered messages are held, or settled."""
        self._by_number.clear()
        self._compact()
        self._make_spare()
        await self.confirm()

    async def close(self) -> None:
        """Write and sync all that is pending, and let go of the directory."""
        self._closed = True
        self._committer.stopping = True
        for timer in self._timers.values():
            timer.cancel()
        self._urgent = True
        while not self.broken and (self._record or self._pieces or self._settled or self._attempts):
            self._schedule()
            await asyncio.shield(self._next)
        while self._running is not None and not self.broken:
            await asyncio.shield(self._running)
        if not self.broken:
            self._running = self._loop.create_future()
            self._commit([], [], sync=self._options.sync != "off")
            await self._running
        await self._commits.stop()
        await self._chores.stop()
        self._files.close()
        if self._lock is not None:
            os.close(self._lock)

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        if name in self._timers or self._closed:
            return

        def due() -> None:
            del self._timers[name]
            call()

        self._timers[name] = self._loop.call_later(delay_s, due)


def _tell(error: BaseException | None) -> None:
    if error is not None:
        log.warning("a segment of the journal that is no longer needed stays: %s", error)


def _slices(numbers: list[int], most: int) -> list[list[int]]:
    return [numbers[at : at + most] for at in range(0, len(numbers), most)]


async def open_journal(
    directory: Path,
    options: JournalOptions,
    snapshot: Callable[[Entry], Stored],
    *,
    files: JournalFiles | None = None,
    observe: Observe = lambda _commit_s, _sync_s: None,
) -> tuple[Journal, Recovered]:
    """Take a directory, read what it holds, and begin a new segment in it.

    The caller then gives every recovered message to ``hold`` and awaits ``ready``. Raises
    JournalInUse; UnknownFormat; JournalFull when the disk has no room for a first segment.
    """
    lock = await asyncio.to_thread(lock_directory, directory)
    used = JournalFiles(directory) if files is None else files
    try:
        recovered = await asyncio.to_thread(recover, directory)
        first = await asyncio.to_thread(_first_segment, used, recovered, options)
    except BaseException:
        os.close(lock)
        raise
    journal = Journal(used, options, snapshot, observe)
    journal.begin(recovered, lock, first)
    return journal, recovered


def _first_segment(files: JournalFiles, recovered: Recovered, options: JournalOptions) -> Segment:
    for number in recovered.unused:
        files.remove(number)
    number = max([*recovered.segments, recovered.oldest - 1, 0]) + 1
    header = Header(number, -(-options.segment_bytes // 4096) * 4096, secrets.token_bytes(8))
    try:
        files.create(number, header.size, encode_header(header))
    except OSError as error:
        if recovered.last is None:
            raise JournalFull(
                f"the journal needs {header.size} bytes in {files.directory} to begin with: {error}"
            ) from None
        # The last segment holds a reserve, in which at least all that lives can be settled.
        header, end = recovered.last
        files.reopen(header.segment)
        resumed = Segment(header)
        resumed.at = end
        return resumed
    return Segment(header)
