"""Records in an Arrow IPC stream, from the API itself or from another program."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from gputel.api.push.arrow_stream import batches
from gputel.api.push.records import REQUIRED, ParsedPush, too_many
from gputel.errors import BadRequest
from gputel.model.columns import TIMESTAMP, TIMESTAMP_TYPE, VALUE, make_batch, times_of
from gputel.model.names import FIELDS

_MOST_BATCHES = 1024


def parse_arrow(body: bytes, most: int, now_us: int) -> ParsedPush:
    """The rows of all batches. A row without a time gets the time ``now_us``.

    Raises BadRequest if it is no such stream, is compressed or has unknown columns, and
    PayloadTooLarge if it has more than ``most`` rows.
    """
    try:
        table = _read(body, most)
        columns = {FIELDS[name]: _column(name, table) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadRequest(f"the body is no Arrow IPC stream of records: {reason}") from None
    rows = table.num_rows
    if TIMESTAMP not in columns:
        columns[TIMESTAMP] = times_of(np.full(rows, now_us, np.int64))
    columns[TIMESTAMP] = columns[TIMESTAMP].fill_null(pa.scalar(now_us).cast(TIMESTAMP_TYPE))
    return ParsedPush(make_batch(columns, rows), np.arange(rows, dtype=np.int64), [])


def _read(body: bytes, most: int) -> pa.Table:
    read: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches(body, _check):
        rows += batch.num_rows
        if rows > most:
            raise too_many(most)
        if len(read) == _MOST_BATCHES:
            raise BadRequest(f"the body has over {_MOST_BATCHES} batches; write larger ones")
        batch.validate(full=True)
        read.append(batch)
    if not read:
        return pa.table({TIMESTAMP: times_of([]), VALUE: pa.array([], pa.float64())})
    return pa.Table.from_batches(read).unify_dictionaries().combine_chunks()


def _check(schema: pa.Schema) -> None:
    """Raise BadRequest for an unknown or missing column, or one of the wrong type."""
    for name in REQUIRED:
        if name not in schema.names:
            raise BadRequest(f"the body has no column {name}")
    for name in schema.names:
        if name not in FIELDS:
            raise BadRequest(f"unknown column {name[:100]!r}; a record has {', '.join(FIELDS)}")
    for field in schema:
        kind = _KINDS.get(field.name, _is_text)
        if not kind(field.type):
            raise BadRequest(f"column {field.name} is of type {str(field.type)[:100]}")
    names = [FIELDS[name] for name in schema.names]
    for name in schema.names:
        if names.count(FIELDS[name]) > 1:
            raise BadRequest(f"column {name} is there twice; keep one of them")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "timestamp": pa.types.is_timestamp,
    "value": _is_number,
}


def _column(name: str, table: pa.Table) -> pa.Array:
    column = table.column(name)
    array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if FIELDS[name] == VALUE:
        return array.cast(pa.float64(), safe=False)
    if (
        FIELDS[name] == TIMESTAMP
    ):  # nanoseconds are cut off; seconds may be out of range in microseconds
        return array.cast(TIMESTAMP_TYPE, safe=array.type.unit != "ns")
    return _labels(array)


def _labels(array: pa.Array) -> pa.DictionaryArray:
    """Text as a dictionary, which is never expanded. Null becomes empty text."""
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    texts = array.dictionary.cast(pa.string()).fill_null("")
    codes = array.indices
    if codes.null_count or not len(texts):
        codes = codes.cast(pa.int32()).fill_null(len(texts))
        texts = pa.concat_arrays([texts, pa.array([""])])
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), texts)
