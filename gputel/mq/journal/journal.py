"""The journal: lets a broker's messages outlive its process.

Messages and their changes are appended to segment files. ``records.py`` documents the bytes and
``docs/journal.md`` the promises. All state lives on the event loop; two threads use the disk, one
for commits (``commits.py``) and one that makes and deletes segments (``room.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from gputel.mq.journal.commits import Commits, JournalOptions, Observe
from gputel.mq.journal.files import JournalFiles
from gputel.mq.journal.records import (
    Header,
    RecordKind,
    StoredDeath,
    StoredMessage,
    encode_body,
    pack_numbers,
    padded,
)
from gputel.mq.journal.recovery import Recovery
from gputel.mq.journal.room import Room
from gputel.mq.journal.space import Entry, Segment, Space, room_of, shares

_LIST_MOST = 4096
_REWRITE_BYTES = 256 * 1024
_RECORD_BYTES = 64 * 1024  # of several messages: the most that one flipped bit can destroy
_SKIP_NUMBERS = 1_000_000
"""Numbers skipped at a start: a lost record may have used some of them."""


class Journal:
    """A journal that is open for writing, from one event loop. ``open_journal`` makes it.

    ``snapshot`` returns the present state of a live message, for compaction.
    """

    def __init__(
        self,
        files: JournalFiles,
        options: JournalOptions,
        snapshot: Callable[[Entry], StoredMessage],
        observe: Observe,
    ) -> None:
        self._files = files
        self._snapshot = snapshot
        self.space = Space(options.segment_bytes)
        self._commits = Commits(files, options, self.space, self, observe)
        self._schedule = self._commits.schedule
        self._room = Room(files, self.space, self._compact)
        self._lock: int | None = None
        self._number = 0
        self._record: list[tuple[Entry, StoredMessage]] = []  # messages for the next record
        self._rooms: list[int] = []  # of each of them
        self._record_bytes = 0
        self._settled: list[int] = []
        self._attempts: dict[int, int] = {}
        self._by_number: dict[int, Segment] = {}  # while recovered messages are restored
        self.rewritten_bytes = 0

    @property
    def broken(self) -> str:
        """Why the journal can no longer be trusted; empty while it can."""
        return self._commits.broken

    @property
    def commits(self) -> int:
        """Commits since the start."""
        return self._commits.count

    # ------------------------------------------------------------------ what happens to messages

    async def admit(self, total: int, largest: int) -> int:
        """Reserve room for messages of at most ``total`` bytes, the largest of ``largest`` bytes.

        Returns the amount for ``release``. Waits while a segment is being made. Raises JournalFull
        and JournalBroken.
        """
        self._commits.check()
        if self._commits.stalled:
            raise self._room.full("a write finds the disk full")
        largest = max(largest, min(total, _RECORD_BYTES))
        await self._room.wait_for(total, largest, self._commits.check)
        return self.space.promise(total, largest)

    def release(self, amount: int) -> None:
        """End a reservation: its messages have been appended, or will not be."""
        self._close_record()
        self.space.take_back(amount)
        self._room.make_spare()

    def take_number(self) -> int:
        """A new number, greater than all before; used for messages and for their order."""
        self._number += 1
        return self._number

    def append(self, entry: Entry, stored: StoredMessage) -> None:
        """Record a message, new or changed. Its room must be reserved with ``admit``.

        Consecutive messages share a record, up to a size; ``release`` ends it.
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
        """Record that a message ended: it never comes back."""
        self._close_record()
        if entry.segment is None:
            return
        entry.segment.drop(entry)
        self._attempts.pop(entry.number, None)
        self._settled.append(entry.number)
        self._commits.urgent = True
        self._schedule()

    def attempted(self, entry: Entry, attempts: int) -> None:
        """Record how often a message was delivered. No caller waits for this sync."""
        self._attempts[entry.number] = attempts
        self._schedule()

    def died(self, entry: Entry, died: StoredDeath) -> None:
        """Record a dead letter. On a full disk this is skipped; a restart makes it ready then."""
        self._close_record()
        self._add_if_room(RecordKind.DEAD, encode_body(died))

    def replayed(self, entry: Entry) -> None:
        """Record that a dead letter is ready again, behind all others; sets its order."""
        self._close_record()
        entry.order = self.take_number()
        self._attempts.pop(entry.number, None)
        self._add_if_room(RecordKind.REPLAYED, pack_numbers([entry.number, entry.order]))

    async def confirm(self) -> None:
        """Wait until all that was recorded before this call is as safe as ``sync`` says.

        Raises JournalBroken.
        """
        await self._commits.confirm()

    # ------------------------------------------------------------------ records

    def _close_record(self) -> None:
        if not self._record:
            return
        record, rooms = self._record, self._rooms
        self._record, self._rooms, self._record_bytes = [], [], 0
        body = encode_body([stored for _, stored in record])
        segment = self._commits.add(RecordKind.MESSAGES, body)
        for (entry, _), size in zip(record, shares(padded(len(body)), rooms), strict=True):
            segment.hold(entry, size)
        self._commits.urgent = True

    def _add_if_room(self, kind: RecordKind, body: bytes) -> None:
        if self.space.can_rewrite(padded(len(body))):
            self._commits.add(kind, body)
            self._commits.urgent = True

    def gather(self) -> None:
        """Before a commit: add the collected records. Raises JournalBroken."""
        self._close_record()
        for numbers in _slices(self._settled, _LIST_MOST):
            self._commits.add(RecordKind.SETTLED, pack_numbers(numbers))
        self.space.live -= len(self._settled)  # until now they needed their part of the reserve
        self._settled.clear()
        pairs = [number for pair in self._attempts.items() for number in pair]
        self._attempts.clear()
        for numbers in _slices(pairs, _LIST_MOST):
            if self.space.can_rewrite(padded(8 * len(numbers))):
                self._commits.add(RecordKind.ATTEMPTS, pack_numbers(numbers))

    def pending(self) -> bool:
        """Whether there is anything to gather."""
        return bool(self._record or self._settled or self._attempts)

    def committed(self, trimmed: list[int]) -> None:
        """After a commit: delete, rewrite or make segments as needed."""
        self._room.remove(trimmed)
        self._compact()
        self._room.make_spare()

    def lost(self) -> None:
        """The journal can no longer be trusted: make no more segments."""
        self._room.stop()

    # ------------------------------------------------------------------ compaction

    def _compact(self) -> None:
        space = self.space
        empty = space.pop_empty()
        if empty:
            oldest = space.sealed[0] if space.sealed else space.current
            assert oldest is not None
            self._commits.add(RecordKind.TRIMMED, pack_numbers([oldest.number]))
            self._commits.trim([segment.number for segment in empty])
            return
        segment = space.to_rewrite(full=bool(self._room.lacking))
        if segment is not None:
            self._rewrite(segment)

    def _rewrite(self, segment: Segment) -> None:
        """Append some live messages of a segment again; the rest follows after the commit."""
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

    # ------------------------------------------------------------------ start and stop

    def begin(self, recovered: Recovery, lock: int, first: Segment) -> None:
        """Continue after recovery in a new segment, or in the last one."""
        self._lock = lock
        self._commits.sequence = recovered.sequence
        self._number = recovered.number + _SKIP_NUMBERS
        self._room.next_segment = first.number + 1
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
            self._commits.add(RecordKind.SEALED, pack_numbers([number, torn.offset]))

    def hold(self, entry: Entry, segment: int, size: int) -> None:
        """Restore a message that was recovered."""
        self._by_number[segment].hold(entry, size)
        self.space.live += 1

    async def ready(self) -> None:
        """End the start: all recovered messages are restored or settled."""
        self._by_number.clear()
        self._compact()
        self._room.make_spare()
        await self.confirm()

    async def close(self) -> None:
        """Write and sync all pending records, and unlock the directory."""
        self._room.stop()
        await self._commits.close()
        await self._room.close()
        self._files.close()
        if self._lock is not None:
            os.close(self._lock)


def _slices(numbers: list[int], most: int) -> list[list[int]]:
    return [numbers[at : at + most] for at in range(0, len(numbers), most)]
