"""The codec of a record batch: Arrow IPC stream format, bodies compressed.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc

from gputel.errors import DecodeError
from gputel.failures import is_short
from gputel.model.bounds import used_flaws
from gputel.model.columns import LABELS, NEWEST_US, OLDEST_US, SCHEMA, TIMESTAMP
from gputel.model.unpacked import unpacked_bound

_QUICK = pa.ipc.IpcWriteOptions(compression="lz4")
_SMALL = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))
_WANTED = re.compile(r"alloc of size ([0-9]+)")
_LARGE_BYTES = 1024 * 1024  # zstd halves larger batches; for smaller ones it is too slow


@dataclass(frozen=True)
class PayloadLimits:
    """The most bytes that a payload may have unpacked, and the most rows."""

    max_bytes: int = 256 * 1024 * 1024
    max_rows: int = 2_000_000


def encode(batch: pa.RecordBatch) -> bytes:
    """The payload of one message: a record batch of SCHEMA."""
    options = _SMALL if batch.nbytes > _LARGE_BYTES else _QUICK
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        writer.write_batch(batch)
    payload: bytes = sink.getvalue().to_pybytes()
    return payload


def decode(payload: bytes, limits: PayloadLimits = PayloadLimits()) -> pa.RecordBatch:
    """The record batch of a payload. Everything is checked: the payload may come from anyone.

    Raises DecodeError if the payload is not exactly one Arrow stream of SCHEMA, has nulls, is over
    the limits, has text that is not UTF-8, an index out of range, a label over its bounds, or a
    timestamp outside the years 2000 to 2099. If the machine is short of memory, the original
    error is raised: that is not the payload's fault.
    """
    try:
        batches = _read(payload, limits)
    except (pa.ArrowException, OSError, ValueError) as error:
        _pass_on_shortage(error, limits)
        raise DecodeError(f"payload is not an Arrow record batch: {error}") from None
    if len(batches) != 1:
        raise DecodeError(f"payload holds {len(batches)} record batches instead of one")
    batch = batches[0]
    if batch.num_rows > limits.max_rows:
        raise DecodeError(
            f"payload has {batch.num_rows} rows, more than {limits.max_rows} (--payload-max-rows)"
        )
    _validate(batch, limits)
    return batch


def _read(payload: bytes, limits: PayloadLimits) -> list[pa.RecordBatch]:
    if unpacked_bound(payload, limits.max_bytes) > limits.max_bytes:
        raise DecodeError(
            f"payload can take more than {limits.max_bytes} bytes unpacked "
            "(--payload-max-unpacked-bytes)"
        )
    with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
        if not reader.schema.equals(SCHEMA):
            raise DecodeError("payload is an Arrow stream, but not of gputel's record schema")
        return list(reader)


def _pass_on_shortage(error: Exception, limits: PayloadLimits) -> None:
    """Raise a lack of memory again, unless the payload asked for more than the limit."""
    requested = _WANTED.search(str(error))
    if requested and int(requested[1]) > limits.max_bytes:
        return
    if is_short(error):
        raise error


def _validate(batch: pa.RecordBatch, limits: PayloadLimits) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowException as error:
        _pass_on_shortage(error, limits)
        raise DecodeError(f"payload is a damaged record batch: {error}") from None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        dictionary_nulls = column.dictionary.null_count if hasattr(column, "dictionary") else 0
        if column.null_count or dictionary_nulls:
            raise DecodeError(f"column {name} of the record batch has nulls")
    times = batch.column(TIMESTAMP).view(pa.int64()).to_numpy()
    if len(times) and not OLDEST_US <= times.min() <= times.max() <= NEWEST_US:
        raise DecodeError("the record batch has timestamps outside the years 2000 to 2099")
    for name in LABELS:
        if flaws := used_flaws(name, batch.column(name)):
            count, (_, reason) = len(flaws), min(flaws.items())
            others = f", and {count - 1} more" if count > 1 else ""
            raise DecodeError(
                f"the record batch has a label that is not valid: {name} {reason}{others}"
            )
