"""Where the next record goes, how much room there is, and which segments hold what lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gputel.mq.journal.records import ALIGNMENT, HEADER_BYTES, RECORD_HEADER_BYTES, Header

SETTLEMENT_BYTES = 2 * (RECORD_HEADER_BYTES + ALIGNMENT)
"""Kept free for each message that lives, so that its end can be written on a full disk. One
settlement takes half of this by itself; the rest is for the ends of segments that stay unused."""

_SPARE_BYTES = 4096
_MESSAGE_OVERHEAD = 256
_MARK_OVERHEAD = 32
_UTF8_MOST = 4


class Entry:
    """A message that lives, as the journal knows it. ``owner`` and ``message`` are the caller's."""

    __slots__ = ("message", "number", "order", "owner", "segment", "size")

    def __init__(self, number: int, order: int, owner: Any, message: Any) -> None:
        self.number = number
        self.order = order
        self.owner = owner
        self.message = message
        self.segment: Segment | None = None
        self.size = 0


class Segment:
    """A segment file, its place for the next record, and the messages that live in it."""

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
        """Keep a message here, and no longer where it was."""
        if entry.segment is not None:
            entry.segment.drop(entry)
        entry.segment, entry.size = self, size
        self.live[entry.number] = entry
        self.live_bytes += size

    def drop(self, entry: Entry) -> None:
        """A message that lived here ended, or went on to another segment."""
        del self.live[entry.number]
        self.live_bytes -= entry.size
        entry.segment = None


class Space:
    """The segments of a journal, oldest first; the current one; and spares made ahead of need."""

    def __init__(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.sealed: list[Segment] = []
        self.current: Segment | None = None
        self.spares: list[Segment] = []
        self.promised = 0
        self.largest = 0  # record of all that is promised
        self.live = 0

    @property
    def margin(self) -> int:
        """Kept from publishes, so that compaction can make room on a full disk."""
        return self.segment_bytes // 8

    @property
    def reserve(self) -> int:
        """Kept for settlements alone."""
        return self.live * SETTLEMENT_BYTES + _SPARE_BYTES

    @property
    def disk_bytes(self) -> int:
        """Bytes of all segments but the spares."""
        total = sum(segment.size for segment in self.sealed)
        return total + (self.current.size if self.current else 0)

    @property
    def live_bytes(self) -> int:
        """Bytes of the records of messages that live."""
        total = sum(segment.live_bytes for segment in self.sealed)
        return total + (self.current.live_bytes if self.current else 0)

    def free(self, largest: int = 0) -> int:
        """Bytes for records, the largest of which has this size."""
        ahead = [self.current, *self.spares] if self.current else self.spares
        sizes = [segment.free for segment in ahead]
        while sizes and sizes[0] < largest:
            sizes.pop(0)
        return sum(sizes) - largest * max(0, len(sizes) - 1)

    def has_room(self, total: int, largest: int) -> bool:
        """Whether a publish of this size can be promised its place."""
        needed = total + self.promised + self.reserve + self.margin
        return self.free(max(largest, self.largest)) >= needed

    def promise(self, total: int, largest: int) -> int:
        """Keep room for a publish; gives what ``take_back`` takes."""
        amount = total + largest
        self.promised += amount
        self.largest = max(self.largest, largest)
        return amount

    def take_back(self, amount: int) -> None:
        """End a promise."""
        self.promised -= amount
        if not self.promised:
            self.largest = 0

    def can_rewrite(self, size: int) -> bool:
        """Whether compaction may write so much."""
        return self.free(max(size, self.largest)) - self.promised - self.reserve >= size

    def wants_spare(self) -> bool:
        """Whether another segment should be made ahead of need."""
        return not self.spares or not self.has_room(self.segment_bytes // 2, 0)

    def place(self, size: int) -> tuple[Segment, int]:
        """Take the place for a record: its segment and offset. Raises LookupError without room."""
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
        """Take out the oldest segments in which nothing lives, up to the first in which one does.

        Never one from the middle: a settlement must not go before the message that it ends.
        """
        empty: list[Segment] = []
        while self.sealed and not self.sealed[0].live:
            empty.append(self.sealed.pop(0))
        return empty

    def to_rewrite(self, *, full: bool) -> Segment | None:
        """The oldest segment, when what lives in it should move to the head; else None.

        As long as more than half of the disk space is dead weight, moving the oldest frees at
        least as much as it writes, so what is written stays below twice what is published.
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
    """Bytes that a message takes at most in a record, the record's own among them."""
    id_, key = message.id, message.key
    room = len(message.payload) + len(message.metadata) + len(id_) + len(key) + _MESSAGE_OVERHEAD
    if not (id_.isascii() and key.isascii()):
        room += (_UTF8_MOST - 1) * (len(id_) + len(key))
    if message.history:
        room += sum(_UTF8_MOST * len(mark.reason) + _MARK_OVERHEAD for mark in message.history)
    return room


def shares(size: int, rooms: Sequence[int]) -> list[int]:
    """What each message takes of a record of ``size`` bytes, from what each takes at most."""
    total = sum(rooms)
    return [size * room // total for room in rooms]
