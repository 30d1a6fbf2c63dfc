"""Reads one segment: its records and its damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gputel.mq.journal.records import (
    ALIGNMENT,
    HEADER_BYTES,
    RECORD_MAGIC,
    Header,
    JournalRecord,
    decode_header,
    record_at,
)
from gputel.owned_files import open_file


@dataclass(frozen=True)
class Damage:
    """Bytes of a journal that cannot be read, or a missing file (``end`` is 0 then)."""

    path: Path
    offset: int
    end: int
    reason: str

    def __str__(self) -> str:
        """One line that names the file and the offsets."""
        return f"{self.path}: offset {self.offset} to {self.end}: {self.reason}"


@dataclass
class SegmentRead:
    """The content of one segment.

    ``tail`` is the offset of unreadable bytes at the end, ``end`` that of the unwritten space.
    """

    number: int
    path: Path
    header: Header | None = None
    records: list[JournalRecord] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    tail: int | None = None
    end: int = HEADER_BYTES


def read_segment(path: Path, number: int) -> SegmentRead:
    """Read a segment file. Raises OSError, and UnknownFormat for a later format."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        data = file.read()
    read = SegmentRead(number, path)
    header, damaged = decode_header(data[:HEADER_BYTES])
    if header is None or header.segment != number:
        if any(data):
            reason = "no readable segment header, so none of its records can be checked"
            read.damage.append(Damage(path, 0, len(data), reason))
        return read
    read.header = header
    for at in damaged:
        read.damage.append(Damage(path, at, at + 40, "one of the two segment headers"))
    _read_records(read, data, header.seed)
    return read


def _read_records(read: SegmentRead, data: bytes, seed: int) -> None:
    view = memoryview(data)
    at = HEADER_BYTES
    sequence = 0
    while True:
        record = record_at(view, at, seed)
        if record is None or record.sequence <= sequence:
            record = next(_records_after(data, view, at, seed, sequence), None)
            if record is None:
                break
            read.damage.append(Damage(read.path, at, record.offset, "a damaged record"))
        read.records.append(record)
        at, sequence = record.end, record.sequence
    read.end = at
    if data.count(0, at) != len(data) - at:
        read.tail = at
        read.end = -(-len(data.rstrip(b"\0")) // ALIGNMENT) * ALIGNMENT


def _records_after(
    data: bytes, view: memoryview, at: int, seed: int, sequence: int
) -> Iterator[JournalRecord]:
    """The valid records after an offset without one: found by their magic, then checked."""
    at_magic = data.find(RECORD_MAGIC, at + 1)
    while at_magic >= 0:
        if at_magic % ALIGNMENT == 0:
            record = record_at(view, at_magic, seed)
            if record is not None and record.sequence > sequence:
                yield record
        at_magic = data.find(RECORD_MAGIC, at_magic + 1)
