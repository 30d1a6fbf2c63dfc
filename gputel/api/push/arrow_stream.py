"""The batches of an Arrow IPC stream, which has to be uncompressed.

Compressed, some kilobytes stand for gigabytes, which Arrow unpacks as it reads. Whether a stream is
compressed is for Arrow alone to say, as it has had more than one way to write that. So the stream
is read twice, first with zeros in place of the bodies of its messages. Buffers that are not
compressed are not copied: each of them lies within the stream, whatever is in it. A buffer that is
compressed begins with its size once it is unpacked, which is 0 then, and zeros are no data of any
codec. So what is compressed fails, or lies elsewhere, and nothing has been unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

Check = Callable[[pa.Schema], None]
COMPRESSED = (
    "it is compressed, in the other byte order, or has deltas of dictionaries; write it without "
    "(the whole body may be compressed, as Content-Encoding says)"
)


def batches(body: bytes, check: Check) -> Iterator[pa.RecordBatch]:
    """The batches, whose buffers all lie within ``body``; ``check`` is given the schema first.

    Raises ArrowException, OSError or ValueError for what is no stream, or is compressed.
    """
    blank = pa.py_buffer(b"".join(_blank(body)))
    try:
        for batch in _read(blank, check):
            _check_within(batch, blank)
    except OSError as error:  # of a codec: the zeros are no data
        raise ValueError(COMPRESSED) from error
    yield from _read(pa.py_buffer(body), check)


def _read(stream: pa.Buffer, check: Check) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(stream) as reader:
        check(reader.schema)
        yield from reader


def _blank(body: bytes) -> Iterator[bytes]:
    """The messages of a stream, with zeros in place of their bodies."""
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
