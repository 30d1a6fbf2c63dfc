"""Records as an Arrow IPC stream and as Parquet, without a loop over records.

Labels are dictionary-encoded: a record holds a number for each label. When a piece brings new
series, the dictionaries grow, and the stream replaces the old ones.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

from gputel.api.formats.shape import RECORD, Shape
from gputel.store.blocks.blocks import Int64
from gputel.store.read.records import Records

TIME = pa.timestamp("us", tz="UTC")
TEXT = pa.dictionary(pa.int32(), pa.string())
_ROW_GROUP = 131_072  # records that are collected and written together


class BytesOut:
    """A file that is only written to, whose bytes are taken away while it grows."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        """Add bytes, or a buffer of them."""
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        """The number of bytes written since the beginning."""
        return self._size

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""

    def close(self) -> None:
        """Do nothing: the bytes can still be taken."""

    def take(self) -> bytes:
        """Take the bytes written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _Writer(Protocol):
    """A writer of pyarrow."""

    def write_batch(self, batch: pa.RecordBatch) -> None: ...
    def close(self) -> None: ...


class ColumnarRecords:
    """The part that Arrow and Parquet share. Make one for each answer."""

    def __init__(self, shape: Shape = RECORD) -> None:
        self._dictionaries = _Dictionaries(shape)
        types = {"timestamp": TIME, "value": pa.float64()}
        self._schema = pa.schema([(name, types.get(name, TEXT)) for name in shape.names])
        self._out = BytesOut()
        self._writer = self._open(self._out, self._schema)

    def start(self) -> bytes:
        """The beginning of the answer, which has the schema in some formats."""
        return self._out.take()

    def add(self, records: Records) -> bytes:
        """Encode more records, at least one. The bytes may come with a later call."""
        self._write(self._batch(records))
        return self._out.take()

    def end(self) -> bytes:
        """The end of the answer."""
        self._writer.close()
        return self._out.take()

    def _open(self, out: BytesOut, schema: pa.Schema) -> _Writer:
        raise NotImplementedError

    def _write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def _batch(self, records: Records) -> pa.RecordBatch:
        samples = records.samples
        columns = self._dictionaries.columns(records)
        columns["timestamp"] = pa.array(samples.ts).cast(TIME)
        columns["value"] = pa.array(samples.value)
        return pa.record_batch([columns[name] for name in self._schema.names], self._schema)


class ArrowRecords(ColumnarRecords):
    """An IPC stream with one batch for each piece."""

    def _open(self, out: BytesOut, schema: pa.Schema) -> _Writer:
        writer: _Writer = ipc.new_stream(pa.PythonFile(out, "w"), schema)
        return writer


class ParquetRecords(ColumnarRecords):
    """A Parquet file. A row group is written when it is full."""

    def __init__(self, shape: Shape = RECORD) -> None:
        super().__init__(shape)
        self._pending: list[pa.RecordBatch] = []
        self._count = 0

    def end(self) -> bytes:
        """The last row group, and the footer."""
        self._write_group()
        return super().end()

    def _open(self, out: BytesOut, schema: pa.Schema) -> _Writer:
        writer: _Writer = parquet.ParquetWriter(
            pa.PythonFile(out, "w"), schema, compression="zstd", write_statistics=True
        )
        return writer

    def _write(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch)
        self._count += len(batch)
        if self._count >= _ROW_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending).unify_dictionaries().combine_chunks()
            self._writer.write_batch(table.to_batches()[0])
        self._pending, self._count = [], 0


class _Dictionaries:
    """The labels of the series so far: each text once, and numbers of texts for each series."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._numbers: list[dict[str, int]] = [{} for _ in shape.label_names]
        self._codes: list[list[int]] = [[] for _ in shape.label_names]
        self._known: list[int] = []
        self._ids: Int64 = np.empty(0, np.int64)
        self._columns: list[tuple[np.ndarray[Any, Any], pa.Array]] = []

    def columns(self, records: Records) -> dict[str, pa.Array]:
        """The columns of labels of these records."""
        series_id = records.samples.series_id
        positions = np.searchsorted(self._ids, series_id)
        if len(self._ids) == 0 or not np.array_equal(
            self._ids.take(positions, mode="clip"), series_id
        ):
            self._add_series(records)
            positions = np.searchsorted(self._ids, series_id)
        return {
            name: pa.DictionaryArray.from_arrays(pa.array(codes[positions]), texts, safe=False)
            for name, (codes, texts) in zip(self._shape.label_names, self._columns, strict=True)
        }

    def _add_series(self, records: Records) -> None:
        """Add all series of the records, so that the dictionaries seldom have to grow."""
        known = set(self._known)
        for series_id, series in records.series.items():
            if series_id not in known:
                self._known.append(series_id)
                labels = self._shape.labels(series)
                for numbers, codes, label in zip(self._numbers, self._codes, labels, strict=True):
                    codes.append(numbers.setdefault(label, len(numbers)))
        ids = np.array(self._known, np.int64)
        order = np.argsort(ids)
        self._ids = ids[order]
        self._columns = [
            (np.array(codes, np.int32)[order], pa.array(list(numbers), pa.string()))
            for codes, numbers in zip(self._codes, self._numbers, strict=True)
        ]
