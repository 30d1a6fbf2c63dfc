"""What a source hands out: the good rows of a chunk, and why the others were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gputel.model.columns import SCHEMA, TIMESTAMP_TYPE

TEXT_LIMIT = 200
EMPTY = pa.RecordBatch.from_pylist([], schema=SCHEMA)


@dataclass(frozen=True)
class Reject:
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
class SourceChunk:
    """Rows ``first_row .. first_row + row_count - 1`` of a source.

    ``batch`` (of SCHEMA) holds the good ones in order. ``row_count`` counts lines, blank and
    rejected ones too; it is less than was asked for only where the source ends (``at_end``).
    """

    batch: pa.RecordBatch
    first_row: int
    row_count: int
    rejects: Sequence[Reject]
    at_end: bool


def excerpt(line: bytes) -> str:
    """The start of a line as text that can be shown, at most TEXT_LIMIT characters and a mark."""
    text = line[: 4 * TEXT_LIMIT].rstrip(b"\r\n").decode("utf-8", "replace")
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "…"


def concatenate(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One record batch of SCHEMA out of many, with one dictionary a label."""
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches, schema=SCHEMA).unify_dictionaries().combine_chunks()
    whole = table.to_batches()
    return whole[0] if whole else EMPTY


def stamp(batch: pa.RecordBatch, first_us: int) -> pa.RecordBatch:
    """The batch with row i at ``first_us + i``, in microseconds since 1970 UTC."""
    times = np.arange(first_us, first_us + batch.num_rows, dtype=np.int64)
    return batch.set_column(0, SCHEMA.field(0), pa.array(times).cast(TIMESTAMP_TYPE))
