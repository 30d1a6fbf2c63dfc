"""Where the next record goes, how much room there is, and which segments hold live messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gputel.mq.journal.records import ALIGNMENT, HEADER_BYTES, RECORD_HEADER_BYTES, Header

SETTLEMENT_BYTES = 2 * (RECORD_HEADER_BYTES + ALIGNMENT)
"""Kept free for each live message, so that its end can be recorded on a full disk. A settlement
alone takes half of this; the rest is for the unused ends of segments."""

_SPARE_BYTES = 4096
_MESSAGE_OVERHEAD = 256
_MARK_OVERHEAD = 32
_UTF8_MOST = 4


class Entry:
    """A live message in the journal. ``owner`` and ``message`` belong to the caller."""

    __slots__ = ("message", "number", "order", "owner", "segment", "size")

    def __init__(self, number: int, order: int, owner: Any, message: Any) -> None:
        self.number = number
        self.order = order
        self.owner = owner
        self.message = message
        self.segment: Segment | None = None
        self.size = 0


class Segment:
    """A segment file, the offset of its next record, and its live messages."""

    def __init__(self, header: Header) -> None:
        self.number = header.segment
        self.size = header.size
        self.seed = header.seed
        self.at = HEADER_BYTES
        self.live: dict[int, Entry] = {}
        self.live_bytes = 0

    @property
    def free(self) -> int:
        """Bytes left for records."""
        return self.size - self.at

    def hold(self, entry: Entry, size: int) -> None:
        """Move a message to this segment."""
        if entry.segment is not None:
            entry.segment.drop(entry)
        entry.segment, entry.size = self, size
        self.live[entry.number] = entry
        self.live_bytes += size

    def drop(self, entry: Entry) -> None:
        """Remove a message that ended, or moved to another segment."""
        del self.live[entry.number]
        self.live_bytes -= entry.size
        entry.segment = None


class Space:
    """The segments of a journal: sealed ones, oldest first, the current one, and spares."""

    def __init__(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.sealed: list[Segment] = []
        self.current: Segment | None = None
        self.spares: list[Segment] = []
        self.promised = 0
        self.largest = 0  # record among all reservations
        self.live = 0

    @property
    def margin(self) -> int:
        """Bytes that publishes may not use, so that compaction can make room on a full disk."""
        return self.segment_bytes // 8

    @property
    def reserve(self) -> int:
        """Bytes that only settlements may use."""
        return self.live * SETTLEMENT_BYTES + _SPARE_BYTES

    @property
    def disk_bytes(self) -> int:
        """Bytes of all segments except the spares."""
        total = sum(segment.size for segment in self.sealed)
        return total + (self.current.size if self.current else 0)

    @property
    def live_bytes(self) -> int:
        """Bytes of the records of live messages."""
        total = sum(segment.live_bytes for segment in self.sealed)
        return total + (self.current.live_bytes if self.current else 0)

    def free(self, largest: int = 0) -> int:
        """Bytes for records when the largest record has this size."""
        ahead = [self.current, *self.spares] if self.current else self.spares
        sizes = [segment.free for segment in ahead]
        while sizes and sizes[0] < largest:
            sizes.pop(0)
        return sum(sizes) - largest * max(0, len(sizes) - 1)

    def has_room(self, total: int, largest: int) -> bool:
        """Whether there is room for a publish of this size."""
        needed = total + self.promised + self.reserve + self.margin
        return self.free(max(largest, self.largest)) >= needed

    def promise(self, total: int, largest: int) -> int:
        """Reserve room for a publish; returns the amount for ``take_back``."""
        amount = total + largest
        self.promised += amount
        self.largest = max(self.largest, largest)
        return amount

    def take_back(self, amount: int) -> None:
        """End a reservation."""
        self.promised -= amount
        if not self.promised:
            self.largest = 0

    def can_rewrite(self, size: int) -> bool:
        """Whether compaction may write ``size`` bytes."""
        return self.free(max(size, self.largest)) - self.promised - self.reserve >= size

    def wants_spare(self) -> bool:
        """Whether to make another spare segment."""
        return not self.spares or not self.has_room(self.segment_bytes // 2, 0)

    def place(self, size: int) -> tuple[Segment, int]:
        """Assign a place to a record: its segment and offset. Raises LookupError without room."""
        while self.current is None or self.current.free < size:
            if not self.spares:
                raise LookupError(f"no room for a record of {size} bytes")
            if self.current is not None:
                self.sealed.append(self.current)
            self.current = self.spares.pop(0)
        at = self.current.at
        self.current.at += size
        return self.current, at

    def pop_empty(self) -> list[Segment]:
        """Remove the oldest segments without live messages, up to the first segment with one.

        Never one from the middle: a settlement must not be deleted before its message.
        """
        empty: list[Segment] = []
        while self.sealed and not self.sealed[0].live:
            empty.append(self.sealed.pop(0))
        return empty

    def to_rewrite(self, *, full: bool) -> Segment | None:
        """The oldest segment if its live messages should be appended again; else None.

        While more than half of the disk space is not live, moving the oldest frees at least as much
        as it writes, so the journal writes less than twice what is published.
        """
        if not self.sealed:
            return None
        oldest = self.sealed[0]
        if full and oldest.live_bytes <= oldest.size // 2:
            return oldest
        bound = 2 * self.live_bytes + 2 * self.segment_bytes
        return oldest if self.disk_bytes > bound else None


class _HasReason(Protocol):
    @property
    def reason(self) -> str: ...


class _Measured(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def metadata(self) -> bytes: ...
    @property
    def history(self) -> Sequence[_HasReason]: ...


def room_of(message: _Measured) -> int:
    """The most bytes that a message takes in a record, including the record's own."""
    id_, key = message.id, message.key
    room = len(message.payload) + len(message.metadata) + len(id_) + len(key) + _MESSAGE_OVERHEAD
    if not (id_.isascii() and key.isascii()):
        room += (_UTF8_MOST - 1) * (len(id_) + len(key))
    if message.history:
        room += sum(_UTF8_MOST * len(mark.reason) + _MARK_OVERHEAD for mark in message.history)
    return room


def shares(size: int, rooms: Sequence[int]) -> list[int]:
    """The share of each message in a record of ``size`` bytes, by their maximum sizes."""
    total = sum(rooms)
    return [size * room // total for room in rooms]
