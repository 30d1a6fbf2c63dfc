"""The codec of a record batch: Arrow IPC stream format, bodies compressed.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.ipc

from gputel.errors import DecodeError
from gputel.model.columns import NEWEST_US, OLDEST_US, SCHEMA, TIMESTAMP

_QUICK = pa.ipc.IpcWriteOptions(compression="lz4")
_SMALL = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))
_LARGE_BYTES = 1024 * 1024  # zstd halves what is larger; what is smaller takes it thrice the time


def encode(batch: pa.RecordBatch) -> bytes:
    """One record batch of SCHEMA as the payload of one message."""
    options = _SMALL if batch.nbytes > _LARGE_BYTES else _QUICK
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        writer.write_batch(batch)
    payload: bytes = sink.getvalue().to_pybytes()
    return payload


def decode(payload: bytes) -> pa.RecordBatch:
    """The record batch of a payload, checked in full: the payload may come from anyone.

    Raises DecodeError if it is not exactly one Arrow stream of SCHEMA, has nulls, or holds
    anything that its own schema does not allow (text that is not UTF-8, an index out of range), or
    a timestamp outside the years 2000 to 2099.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
            if not reader.schema.equals(SCHEMA):
                raise DecodeError("payload is an Arrow stream, but not of gputel's record schema")
            batches = list(reader)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DecodeError(f"payload is not an Arrow record batch: {error}") from None
    if len(batches) != 1:
        raise DecodeError(f"payload holds {len(batches)} record batches instead of one")
    _validate(batches[0])
    return batches[0]


def _validate(batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowException as error:
        raise DecodeError(f"payload is a damaged record batch: {error}") from None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        dictionary_nulls = column.dictionary.null_count if hasattr(column, "dictionary") else 0
        if column.null_count or dictionary_nulls:
            raise DecodeError(f"column {name} of the record batch has nulls")
    times = batch.column(TIMESTAMP).view(pa.int64()).to_numpy()
    if len(times) and not OLDEST_US <= times.min() <= times.max() <= NEWEST_US:
        raise DecodeError("the record batch has timestamps outside the years 2000 to 2099")
