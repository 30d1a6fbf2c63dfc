"""The bytes of a journal: the header of a segment, and the records that follow it.

All integers are little-endian. A segment file begins with a header block of 4,096 bytes, in which
the same header stands twice, at 0 and at 2,048, so that one damaged copy costs nothing:

    0   8  magic "GPUTELMQ"         24  8  bytes of the segment file
    8   4  format version, 1        32  8  salt, random
    12  4  CRC-32 of bytes 16-40
    16  8  number of the segment

Records follow, each at a multiple of 8, padded with zeros to the next:

    0   4  magic A7 67 4A 31        12  1  kind, then 3 zeros
    4   4  CRC-32, salted, of all   16  8  sequence: one more than the record before it,
           from byte 8 to the body's       throughout the journal
           end                      24     body
    8   4  bytes of the body

The CRC-32 starts from that of the salt. After a damaged record, a reader searches for the next one.
A payload can hold bytes that look like a record, but its sender cannot know the salt, so the reader
never takes them for a record.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

import msgspec

from gputel.errors import GputelError

VERSION = 1
HEADER_BYTES = 4096
ALIGNMENT = 8
RECORD_MAGIC = b"\xa7gJ1"
RECORD_HEADER_BYTES = 24

_FILE_MAGIC = b"GPUTELMQ"
_COPIES = (0, 2048)
_HEADER = struct.Struct("<8sII")
_HEADER_BODY = struct.Struct("<QQ8s")
_PREFIX = struct.Struct("<4sI")
_CHECKED = struct.Struct("<IB3xQ")


class RecordKind(IntEnum):
    """The kinds of record, each with its body."""

    MESSAGES = 1  # MessagePack of a list of StoredMessage; a later one of a number replaces it
    SETTLED = 2  # numbers of messages that ended, u64 each
    ATTEMPTS = 3  # (number, attempts), u64 each
    DEAD = 4  # MessagePack of a StoredDeath
    REPLAYED = 5  # (number, new order), u64 each: ready again, attempts 0
    TRIMMED = 6  # u64: segments below this number are not needed
    SEALED = 7  # (segment, offset), u64 each: the bytes from the offset on are a torn tail


class UnknownFormat(GputelError):
    """The journal has a format that this gputel does not know."""

    code = "journal_format"
    exit_code = 2


class StoredFailure(msgspec.Struct, array_like=True, gc=False):
    """One failed delivery: attempt number, time (Unix seconds) and reason."""

    attempt: int
    at: float
    reason: str


class StoredMessage(msgspec.Struct, array_like=True, gc=False):
    """A message as the journal keeps it. Times are Unix seconds; 0 is never."""

    number: int
    order: int
    queue: str
    id: str
    key: str
    payload: bytes
    metadata: bytes
    published_at: float = 0.0
    attempts: int = 0
    dead: bool = False
    since: float = 0.0
    history: list[StoredFailure] = []
    expires_at: float = 0.0
    ready_at: float = 0.0


class StoredDeath(msgspec.Struct, array_like=True, gc=False):
    """A message that became a dead letter."""

    number: int
    at: float
    attempts: int
    history: list[StoredFailure]


class Header(NamedTuple):
    """The header of a segment."""

    segment: int
    size: int
    salt: bytes

    @property
    def seed(self) -> int:
        """The start value of every checksum in the segment."""
        return crc32(self.salt)


encode_body = msgspec.msgpack.Encoder().encode
decode_stored = msgspec.msgpack.Decoder(list[StoredMessage]).decode
decode_died = msgspec.msgpack.Decoder(StoredDeath).decode


def encode_header(header: Header) -> bytes:
    """The header block."""
    body = _HEADER_BODY.pack(header.segment, header.size, header.salt)
    one = _HEADER.pack(_FILE_MAGIC, VERSION, crc32(body)) + body
    block = bytearray(HEADER_BYTES)
    for at in _COPIES:
        block[at : at + len(one)] = one
    return bytes(block)


def decode_header(block: bytes) -> tuple[Header | None, list[int]]:
    """The header (None when both copies are damaged), and the offsets of damaged copies.

    Raises UnknownFormat for a later format, whatever else it holds.
    """
    found: Header | None = None
    damaged: list[int] = []
    for at in _COPIES:
        header = _header_at(block, at)
        if header is None:
            damaged.append(at)
        found = found or header
    return found, damaged


def _header_at(block: bytes, at: int) -> Header | None:
    end = at + _HEADER.size + _HEADER_BODY.size
    if len(block) < end:
        return None
    magic, version, checksum = _HEADER.unpack_from(block, at)
    body = block[at + _HEADER.size : end]
    if magic != _FILE_MAGIC or crc32(body) != checksum:
        return None
    if version != VERSION:
        raise UnknownFormat(
            f"the journal has format version {version}, this gputel knows {VERSION}: "
            "start the gputel that wrote it, and let it drain"
        )
    return Header(*_HEADER_BODY.unpack(body))


def padded(size: int) -> int:
    """Bytes that a record with a body of this size takes up."""
    return (RECORD_HEADER_BYTES + size + ALIGNMENT - 1) & -ALIGNMENT


def encode_record(kind: RecordKind, sequence: int, body: bytes, seed: int) -> bytes:
    """One record, padded."""
    checked = _CHECKED.pack(len(body), kind, sequence)
    checksum = crc32(body, crc32(checked, seed))
    padding = -len(body) % ALIGNMENT
    return b"".join((_PREFIX.pack(RECORD_MAGIC, checksum), checked, body, bytes(padding)))


class JournalRecord(NamedTuple):
    """A record read from a segment."""

    offset: int
    end: int  # where the next one begins
    kind: int
    sequence: int
    body: bytes


def record_at(data: bytes | memoryview, offset: int, seed: int) -> JournalRecord | None:
    """The record at ``offset``, or None when there is none or it is damaged."""
    body_at = offset + RECORD_HEADER_BYTES
    if len(data) < body_at:
        return None
    magic, checksum = _PREFIX.unpack_from(data, offset)
    if magic != RECORD_MAGIC:
        return None
    size, kind, sequence = _CHECKED.unpack_from(data, offset + _PREFIX.size)
    end = body_at + size
    if end > len(data) or crc32(data[offset + _PREFIX.size : end], seed) != checksum:
        return None
    return JournalRecord(offset, offset + padded(size), kind, sequence, bytes(data[body_at:end]))


def pack_numbers(numbers: list[int]) -> bytes:
    """Numbers as u64."""
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def unpack_numbers(body: bytes) -> tuple[int, ...]:
    """The u64 of a body. Raises ValueError for a body of another length."""
    if len(body) % 8:
        raise ValueError(f"{len(body)} bytes are no list of numbers")
    return struct.unpack(f"<{len(body) // 8}Q", body)


def pairs_of(body: bytes) -> list[tuple[int, int]]:
    """The pairs of u64 of a body. Raises ValueError for a body of another length."""
    numbers = unpack_numbers(body)
    return list(zip(numbers[::2], numbers[1::2], strict=True))
