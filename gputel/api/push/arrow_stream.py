"""The batches of an Arrow IPC stream, which has to be uncompressed.

A few compressed kilobytes can stand for gigabytes, and Arrow unpacks them while it reads. Only
Arrow can say whether a stream is compressed, as its format has had several ways to write that. So
the stream is read twice, first with zeros instead of the bodies of its messages. Arrow does not
copy a buffer that is not compressed: the buffer lies within the stream. A compressed buffer begins
with its unpacked size, which is 0 now, and zeros are no valid data of any codec. So Arrow fails at
a compressed buffer, or puts it elsewhere in memory, and has unpacked nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

Check = Callable[[pa.Schema], None]
COMPRESSED = (
    "it is compressed, in the other byte order, or has deltas of dictionaries; write it without "
    "(you may compress the complete body, and say so in Content-Encoding)"
)


def batches(body: bytes, check: Check) -> Iterator[pa.RecordBatch]:
    """The batches, whose buffers all lie within ``body``. Calls ``check`` with the schema first.

    Raises ArrowException, OSError or ValueError if it is no stream or compressed.
    """
    blank = pa.py_buffer(b"".join(_blank(body)))
    try:
        for batch in _read(blank, check):
            _check_within(batch, blank)
    except OSError as error:  # from a codec, for which the zeros are no data
        raise ValueError(COMPRESSED) from error
    yield from _read(pa.py_buffer(body), check)


def _read(stream: pa.Buffer, check: Check) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(stream) as reader:
        check(reader.schema)
        yield from reader


def _blank(body: bytes) -> Iterator[bytes]:
    """The messages of a stream, with zeros instead of their bodies."""
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        data = message.serialize().to_pybytes()
        size = 0 if message.body is None else message.body.size
        yield data[: len(data) - size] + bytes(size)


def _check_within(batch: pa.RecordBatch, stream: pa.Buffer) -> None:
    for column in batch.columns:
        coded = pa.types.is_dictionary(column.type)
        for array in (column.indices, column.dictionary) if coded else (column,):
            for buffer in array.buffers():
                if buffer is not None and not _is_within(buffer, stream):
                    raise ValueError(COMPRESSED)


def _is_within(buffer: pa.Buffer, stream: pa.Buffer) -> bool:
    begin: int = buffer.address - stream.address
    return not buffer.size or (begin >= 0 and begin + buffer.size <= stream.size)
