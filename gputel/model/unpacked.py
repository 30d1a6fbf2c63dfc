"""Bounds the memory that an Arrow stream takes when it is unpacked, without unpacking it.

A compressed buffer begins with its unpacked size in 8 bytes. Then comes a frame of zstd or lz4,
which begins with a magic number. Buffers begin at multiples of 8. So the size before each magic
number is read: the whole stream cannot unpack to more than these sizes, whatever else it says. A
magic number may be there by chance. To find out, pyarrow reads a copy of the stream in which every
other buffer is marked as not compressed.

https://arrow.apache.org/docs/format/Columnar.html#compression
https://github.com/facebook/zstd/blob/dev/doc/zstd_compression_format.md
https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from gputel.model.names import COLUMNS

_LZ4 = 0x184D2204
_SKIPPABLE, _SKIPPABLE_MASK = 0x184D2A50, 0xFFFFFFF0  # frames of either format that a reader skips
_ZSTD_FIRST, _ZSTD_LAST = 0xFD2FB51E, 0xFD2FB528  # all versions of its format
_WORD = 8
_TAILS = (
    b"\xb5\x2f\xfd",
    b"\x22\x4d\x18",
    b"\x2a\x4d\x18",
)  # the magic numbers without their first byte
_SMALL_BYTES = 32 * 1024
_MOST_MESSAGES = 64  # in one stream: a schema, a dictionary for each label, the batch
_BATCH_BUFFERS = 2 * len(COLUMNS)  # validity and data of each; several may be one place
_DICTIONARY_BUFFERS = 3

Words = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _MessageBody:
    """The position of a message's body in the payload, and the most buffers in it."""

    start: int
    size: int
    buffers: int


def unpacked_bound(payload: bytes, most: int) -> int:
    """The most bytes that decoding can take. A result over ``most`` is not exact.

    Raises ArrowException, OSError or ValueError if the payload is no Arrow stream.
    """
    if len(payload) <= _SMALL_BYTES and (bound := _rough_bound(payload)) <= most:
        return bound
    bodies = list(_bodies(payload))
    total, suspects = len(payload), []
    for body in bodies:
        words = np.frombuffer(payload, np.int64, body.size // _WORD, body.start)
        starts = _frames(words) - 1
        sizes = words[starts]
        large = sizes > most // body.buffers
        suspects += [body.start + _WORD * int(start) for start in starts[large]]
        total += _most_of(sizes[~large], body.buffers)
    if suspects and _are_read(payload, bodies, suspects):
        return max(total, most + 1)
    return total


def _rough_bound(payload: bytes) -> int:
    """A bound without parsing messages: everything that looks like a frame counts as one."""
    sizes = 0
    for tail in _TAILS:
        at = payload.find(tail, _WORD + 1)
        while at >= 0:
            size = payload[at - 1 - _WORD : at - 1]
            sizes += max(0, int.from_bytes(size, "little", signed=True))
            at = payload.find(tail, at + 1)
    return len(payload) + _BATCH_BUFFERS * sizes


def _most_of(sizes: Words, buffers: int) -> int:
    """The most bytes of so many buffers with these sizes; several may share the largest."""
    sizes = sizes[sizes > 0]
    alike = max(0, buffers - len(sizes))
    return int(sizes.sum()) + alike * int(sizes.max(initial=0))


def _bodies(payload: bytes) -> Iterator[_MessageBody]:
    buffer = pa.py_buffer(payload)
    for number, message in enumerate(pa.ipc.MessageReader.open_stream(buffer)):
        if number == _MOST_MESSAGES:
            raise ValueError(f"it has over {_MOST_MESSAGES} Arrow messages")
        body = message.body
        if body is not None and body.size >= 2 * _WORD:
            buffers = _DICTIONARY_BUFFERS if message.type == "dictionary" else _BATCH_BUFFERS
            yield _MessageBody(body.address - buffer.address, body.size, buffers)


def _frames(words: Words) -> npt.NDArray[np.intp]:
    """The indices of words that begin like a frame and have a word before them."""
    low = words.view(np.uint32)[::2]
    begins = (low == _LZ4) | ((low & _SKIPPABLE_MASK) == _SKIPPABLE)
    begins |= (low >= _ZSTD_FIRST) & (low <= _ZSTD_LAST)
    begins[0] = False
    return np.flatnonzero(begins)


def _are_read(payload: bytes, bodies: Sequence[_MessageBody], starts: Sequence[int]) -> bool:
    """Whether the reader takes one of these words as the size of a compressed buffer."""
    trial = bytearray(payload)
    for body in bodies:
        trial[body.start : body.start + body.size] = b"\xff" * body.size  # -1: not compressed
    for start in starts:
        trial[start : start + _WORD] = bytes(_WORD)  # unpacked to nothing, which no frame is
    try:
        with pa.ipc.open_stream(pa.py_buffer(bytes(trial))) as reader:
            for _ in reader:
                pass
    except (pa.ArrowException, OSError, ValueError):
        return True
    return False
