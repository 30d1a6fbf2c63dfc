"""How large the batches of an Arrow stream are once unpacked, before anything is unpacked.

A compressed buffer says its own size in its first 8 bytes, and Arrow gives it so much memory on its
word. Formats: https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format,
https://flatbuffers.dev/internals/, and Message.fbs of Arrow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa

_HEADER = 2  # fields of Message
_DATA = 1  # of DictionaryBatch
_BUFFERS, _COMPRESSION = 2, 3  # of RecordBatch
_NOT_COMPRESSED = -1


def unpacked_bytes(body: bytes) -> int:
    """Bytes of all buffers that say they are compressed. Raises ArrowException, struct.error."""
    total = 0
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        if message.type in ("record batch", "dictionary") and message.body is not None:
            table = _Table.root(message.metadata.to_pybytes()).table(_HEADER)
            batch = table.table(_DATA) if message.type == "dictionary" else table
            if batch.has(_COMPRESSION):
                total += sum(_sizes(batch, message.body))
    return total


def _sizes(batch: _Table, body: pa.Buffer) -> Iterator[int]:
    for offset, length in batch.pairs(_BUFFERS):
        if length:
            (size,) = struct.unpack_from("<q", body, offset)
            if size < _NOT_COMPRESSED:
                raise struct.error("a buffer is of a negative size")
            yield length if size == _NOT_COMPRESSED else size


class _Table:
    """A table of a flatbuffer: its fields are found by their number."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, *struct.unpack_from("<I", data))

    def has(self, field: int) -> bool:
        return bool(self._offset(field))

    def table(self, field: int) -> _Table:
        return _Table(self._data, self._target(field))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        at = self._target(field)
        (count,) = struct.unpack_from("<I", self._data, at)
        for place in range(count):
            yield struct.unpack_from("<qq", self._data, at + 4 + 16 * place)

    def _offset(self, field: int) -> int:
        (distance,) = struct.unpack_from("<i", self._data, self._at)
        vtable = self._at - distance
        (size,) = struct.unpack_from("<H", self._data, vtable)
        if 4 + 2 * field >= size:
            return 0
        offset: int = struct.unpack_from("<H", self._data, vtable + 4 + 2 * field)[0]
        return offset

    def _target(self, field: int) -> int:
        offset = self._offset(field)
        if not offset:
            raise struct.error("a field is missing")
        at = self._at + offset
        target: int = at + struct.unpack_from("<I", self._data, at)[0]
        return target
