"""The rows of a chunk: a batch of the good ones, and the reason for each rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gputel.model.columns import SCHEMA, TIMESTAMP_TYPE
from gputel.printable import shortened

TEXT_LIMIT = 200
EMPTY = pa.RecordBatch.from_pylist([], schema=SCHEMA)


@dataclass(frozen=True)
class RejectedRow:
    """One row that did not become a record.

    ``row`` counts from 0 over the source (over all passes of a loop), ``line`` from 1 over the
    file with its header. ``column`` is the name in the file's header, or None where the whole
    line is at fault. ``text`` is the start of the line.
    """

    row: int
    line: int
    column: str | None
    reason: str
    text: str


@dataclass
class CsvChunk:
    """Rows ``first_row .. first_row + row_count - 1`` of a source.

    ``batch`` (of SCHEMA) holds the good ones in order. ``row_count`` counts lines, skipped and
    rejected ones too; it is less than was asked for only where the source ends (``at_end``).
    """

    batch: pa.RecordBatch
    first_row: int
    row_count: int
    rejects: Sequence[RejectedRow]
    at_end: bool

    @property
    def skipped(self) -> int:
        """The lines that are no rows: blank ones, and the header once more."""
        rows: int = self.batch.num_rows
        return self.row_count - rows - len(self.rejects)


def excerpt(line: bytes) -> str:
    """The start of a line as printable text: TEXT_LIMIT characters at most, then an ellipsis."""
    return shortened(line[: 4 * TEXT_LIMIT].rstrip(b"\r\n").decode("utf-8", "replace"), TEXT_LIMIT)


def concatenate(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Join record batches of SCHEMA to one, with one dictionary for each label."""
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches, schema=SCHEMA).unify_dictionaries().combine_chunks()
    batches_of_table = table.to_batches()
    return batches_of_table[0] if batches_of_table else EMPTY


def stamp(batch: pa.RecordBatch, first_us: int) -> pa.RecordBatch:
    """The batch with row i at ``first_us + i``, in microseconds since 1970 UTC."""
    times = np.arange(first_us, first_us + batch.num_rows, dtype=np.int64)
    return batch.set_column(0, SCHEMA.field(0), pa.array(times).cast(TIMESTAMP_TYPE))
