"""Small lists of rows, dicts or structs, to each format; a marshmallow schema names the columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
from marshmallow import Schema, fields
from pyarrow import ipc, parquet

from gputel.api.formats.columnar import TEXT, TIME
from gputel.api.formats.media import Format
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
_BETWEEN = ";"  # of the texts of a list in CSV


def encode_rows(rows: Sequence[Any], schema: type[Schema], chosen: Format) -> bytes:
    """The whole answer; a row lacks what it has no value for. Blocks."""
    return _ENCODERS[chosen](rows, schema)


def _json(rows: Sequence[Any], _schema: type[Schema]) -> bytes:
    return _JSON.encode(rows)


def _ndjson(rows: Sequence[Any], _schema: type[Schema]) -> bytes:
    return _JSON.encode_lines(rows)


def _csv(rows: Sequence[Any], schema: type[Schema]) -> bytes:
    names = list(schema().fields)
    lines = [csv_line(names)]
    lines += [csv_line([_cell(row.get(name)) for name in names]) for row in _dicts(rows)]
    return b"".join(lines)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return _JSON.encode(value.astimezone(UTC)).decode().strip('"')
    return _BETWEEN.join(value) if isinstance(value, list | tuple) else value


def _arrow(rows: Sequence[Any], schema: type[Schema]) -> bytes:
    table, out = _table(rows, schema), pa.BufferOutputStream()
    with ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return bytes(out.getvalue())


def _parquet(rows: Sequence[Any], schema: type[Schema]) -> bytes:
    out = pa.BufferOutputStream()
    parquet.write_table(_table(rows, schema), out, compression="zstd")
    return bytes(out.getvalue())


def _table(rows: Sequence[Any], schema: type[Schema]) -> pa.Table:
    found = list(_dicts(rows))
    types = {name: _type(name, field) for name, field in schema().fields.items()}
    columns = [
        pa.array([row.get(name) for row in found], type=kind) for name, kind in types.items()
    ]
    return pa.table(columns, schema=pa.schema(list(types.items())))


def _type(name: str, field: fields.Field[Any]) -> pa.DataType:
    for of, kind in _TYPES:
        if isinstance(field, of):
            return kind
    raise TypeError(f"{name}: a column of {type(field).__name__} has no type in Arrow")


def _dicts(rows: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = msgspec.to_builtins(rows, builtin_types=(datetime,))
    return found


_ENCODERS: dict[Format, Callable[[Sequence[Any], type[Schema]], bytes]] = {
    Format.JSON: _json,
    Format.NDJSON: _ndjson,
    Format.CSV: _csv,
    Format.ARROW: _arrow,
    Format.PARQUET: _parquet,
}
