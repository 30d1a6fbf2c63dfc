"""Small lists of rows in each format. A row is a dict or a struct; a schema names the columns.

A row lacks a field that has no value. All of this blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
from marshmallow import Schema, fields
from pyarrow import ipc, parquet

from gputel.api.formats.columnar import TEXT, TIME
from gputel.api.formats.text import csv_line

_JSON = msgspec.json.Encoder()
_TYPES: tuple[tuple[type[fields.Field[Any]], pa.DataType], ...] = (
    (fields.DateTime, TIME),
    (fields.Boolean, pa.bool_()),
    (fields.Integer, pa.int64()),
    (fields.Float, pa.float64()),
    (fields.List, pa.list_(pa.string())),
    (fields.String, TEXT),
)
_BETWEEN = ";"  # separates the texts of a list in CSV


def encode_json(rows: Sequence[Any], _schema: type[Schema]) -> bytes:
    """One list of objects."""
    return _JSON.encode(rows)


def encode_ndjson(rows: Sequence[Any], _schema: type[Schema]) -> bytes:
    """One object a line."""
    return _JSON.encode_lines(rows)


def encode_csv(rows: Sequence[Any], schema: type[Schema]) -> bytes:
    """A line with the names of the columns, then one line a row."""
    names = list(schema().fields)
    lines = [csv_line(names)]
    lines += [csv_line([_cell(row.get(name)) for name in names]) for row in _dicts(rows)]
    return b"".join(lines)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return _JSON.encode(value.astimezone(UTC)).decode().strip('"')
    return _BETWEEN.join(value) if isinstance(value, list | tuple) else value


def encode_arrow(rows: Sequence[Any], schema: type[Schema]) -> bytes:
    """An Arrow IPC stream."""
    table, out = _table(rows, schema), pa.BufferOutputStream()
    with ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return bytes(out.getvalue())


def encode_parquet(rows: Sequence[Any], schema: type[Schema]) -> bytes:
    """A Parquet file."""
    out = pa.BufferOutputStream()
    parquet.write_table(_table(rows, schema), out, compression="zstd")
    return bytes(out.getvalue())


def _table(rows: Sequence[Any], schema: type[Schema]) -> pa.Table:
    records = list(_dicts(rows))
    types = {name: _type(name, field) for name, field in schema().fields.items()}
    columns = [
        pa.array([row.get(name) for row in records], type=kind) for name, kind in types.items()
    ]
    return pa.table(columns, schema=pa.schema(list(types.items())))


def _type(name: str, field: fields.Field[Any]) -> pa.DataType:
    for of, kind in _TYPES:
        if isinstance(field, of):
            return kind
    raise TypeError(f"{name}: a column of {type(field).__name__} has no type in Arrow")


def _dicts(rows: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
    dicts: list[Mapping[str, Any]] = msgspec.to_builtins(rows, builtin_types=(datetime,))
    return dicts
