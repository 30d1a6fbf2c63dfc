"""Reads a journal: its live messages and its damage. Changes nothing on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gputel.mq.journal.files import segment_path, segments_in
from gputel.mq.journal.records import (
    HEADER_BYTES,
    Header,
    JournalRecord,
    RecordKind,
    StoredMessage,
    decode_died,
    decode_stored,
    padded,
    pairs_of,
    unpack_numbers,
)
from gputel.mq.journal.segment import Damage, SegmentRead, read_segment
from gputel.mq.journal.space import room_of, shares


@dataclass
class RecoveredMessage:
    """A live message, its segment, and the bytes that it takes there."""

    stored: StoredMessage
    segment: int
    size: int


@dataclass
class Recovery:
    """The content of a journal's directory."""

    live: dict[int, RecoveredMessage] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    torn: list[Damage] = field(default_factory=list)  # records cut off while they were written
    segments: list[int] = field(default_factory=list)  # numbers that may hold records, ascending
    unused: list[int] = field(default_factory=list)  # numbers without records, or not needed
    sizes: dict[int, int] = field(default_factory=dict)
    records: int = 0
    sequence: int = 0  # the last one read
    number: int = 0  # the greatest number or order read
    oldest: int = 1  # segments from this number on are needed
    sealed: set[tuple[int, int]] = field(default_factory=set)
    last: tuple[Header, int] | None = None  # the last segment, and where its free space begins

    @property
    def in_order(self) -> list[RecoveredMessage]:
        """The live messages, in the order of delivery."""
        return sorted(self.live.values(), key=lambda message: message.stored.order)


def recover(directory: Path) -> Recovery:
    """Read a journal. Damage is in the result, not raised. Raises OSError and UnknownFormat."""
    recovered = Recovery()
    reads: list[SegmentRead] = []
    for number in segments_in(directory):
        path = segment_path(directory, number)
        read = read_segment(path, number)
        recovered.sizes[number] = path.stat().st_size
        reads.append(read)
        _apply_all(recovered, read)
        read.records = [
            JournalRecord(r.offset, r.end, r.kind, r.sequence, b"") for r in read.records
        ]
    reads = _needed(recovered, reads)
    _judge(recovered, directory, reads)
    return recovered


def _needed(recovered: Recovery, reads: list[SegmentRead]) -> list[SegmentRead]:
    """The segments that count: without trimmed ones and empty spares."""
    while reads and not reads[-1].records and not reads[-1].damage and reads[-1].tail is None:
        recovered.unused.append(reads.pop().number)
    for read in reads:
        if read.number < recovered.oldest:
            recovered.unused.append(read.number)
    kept = [read for read in reads if read.number >= recovered.oldest]
    recovered.segments = [read.number for read in kept]
    if kept and (header := kept[-1].header) is not None:
        recovered.last = header, kept[-1].end
    return kept


def _judge(recovered: Recovery, directory: Path, reads: list[SegmentRead]) -> None:
    expected = recovered.oldest
    last: tuple[Path, JournalRecord] | None = None
    for read in reads:
        for missing in range(expected, read.number):
            path = segment_path(directory, missing)
            recovered.damage.append(Damage(path, 0, 0, "the segment is missing"))
        broken = bool(read.damage) or expected != read.number
        expected = read.number + 1
        for damage in read.damage:
            is_sealed = (read.number, damage.offset) in recovered.sealed
            (recovered.torn if is_sealed else recovered.damage).append(damage)
        if read.tail is not None:
            broken |= _judge_tail(recovered, read, is_last=read is reads[-1])
        if last is not None and read.records and not broken and not recovered.damage:
            _judge_gap(recovered, last, (read.path, read.records[0]))
        if read.records:
            last = read.path, read.records[-1]


def _judge_tail(recovered: Recovery, read: SegmentRead, *, is_last: bool) -> bool:
    assert read.tail is not None
    tail = Damage(read.path, read.tail, recovered.sizes[read.number], "a torn record at the end")
    if is_last or (read.number, read.tail) in recovered.sealed:
        recovered.torn.append(tail)
        return False
    recovered.damage.append(tail)
    return True


def _judge_gap(
    recovered: Recovery, last: tuple[Path, JournalRecord], first: tuple[Path, JournalRecord]
) -> None:
    missing = first[1].sequence - last[1].sequence - 1
    if missing:
        reason = f"{missing} records before this one are missing"
        recovered.damage.append(Damage(first[0], HEADER_BYTES, first[1].offset, reason))


def _apply_all(recovered: Recovery, read: SegmentRead) -> None:
    for record in read.records:
        recovered.records += 1
        recovered.sequence = max(recovered.sequence, record.sequence)
        apply = _APPLY.get(record.kind)
        try:
            if apply is None:
                raise ValueError(f"a record of unknown kind {record.kind}")  # noqa: TRY301
            apply(recovered, read.number, record)
        except (msgspec.MsgspecError, ValueError) as error:
            read.damage.append(Damage(read.path, record.offset, record.end, str(error)))


def _messages(recovered: Recovery, segment: int, record: JournalRecord) -> None:
    messages = decode_stored(record.body)
    sizes = shares(padded(len(record.body)), [room_of(stored) for stored in messages])
    for stored, size in zip(messages, sizes, strict=True):
        recovered.live[stored.number] = RecoveredMessage(stored, segment, size)
        recovered.number = max(recovered.number, stored.number, stored.order)


def _settled(recovered: Recovery, _segment: int, record: JournalRecord) -> None:
    for number in unpack_numbers(record.body):
        recovered.live.pop(number, None)
        recovered.number = max(recovered.number, number)


def _attempts(recovered: Recovery, _segment: int, record: JournalRecord) -> None:
    for number, attempts in pairs_of(record.body):
        if (message := recovered.live.get(number)) is not None:
            message.stored.attempts = attempts


def _dead(recovered: Recovery, _segment: int, record: JournalRecord) -> None:
    died = decode_died(record.body)
    if (message := recovered.live.get(died.number)) is not None:
        stored = message.stored
        stored.dead, stored.since = True, died.at
        stored.attempts, stored.history = died.attempts, died.history


def _replayed(recovered: Recovery, _segment: int, record: JournalRecord) -> None:
    for number, order in pairs_of(record.body):
        recovered.number = max(recovered.number, order)
        if (message := recovered.live.get(number)) is not None:
            stored = message.stored
            stored.dead, stored.attempts, stored.order = False, 0, order


def _trimmed(recovered: Recovery, _segment: int, record: JournalRecord) -> None:
    (oldest,) = unpack_numbers(record.body)
    recovered.oldest = max(recovered.oldest, oldest)


def _sealed(recovered: Recovery, _segment: int, record: JournalRecord) -> None:
    recovered.sealed.update(pairs_of(record.body))


_APPLY: dict[int, Callable[[Recovery, int, JournalRecord], None]] = {
    RecordKind.MESSAGES: _messages,
    RecordKind.SETTLED: _settled,
    RecordKind.ATTEMPTS: _attempts,
    RecordKind.DEAD: _dead,
    RecordKind.REPLAYED: _replayed,
    RecordKind.TRIMMED: _trimmed,
    RecordKind.SEALED: _sealed,
}
