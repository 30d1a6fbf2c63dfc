"""Lines to record batches, many at a time: no Python runs per row.

``parse`` returns None if it is not certain that every line is well formed. Then ``classify``
checks the lines one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from gputel.model.columns import LABELS, SCHEMA, TIMESTAMP, TIMESTAMP_TYPE, VALUE
from gputel.sources.dcgm.header import Layout
from gputel.sources.dcgm.lines import Piece
from gputel.sources.dcgm.repeats import LEAST_LINES, RepeatsParser
from gputel.sources.dcgm.strict import StrictCsv, only_chunk

_FUTILE = 4  # failed tries in a row; then the lines of the file are taken as not repeating


class ColumnParser:
    """Parses lines of one layout, in the way that is quicker for this file.

    A line without a time gets ``no_time_us``, or null if that is None.
    """

    def __init__(self, layout: Layout, no_time_us: int | None = None) -> None:
        self._no_time_us = no_time_us
        self._csv = StrictCsv(layout)
        self._repeats = RepeatsParser(layout)
        self._futile = 0

    def parse(self, piece: Piece) -> pa.RecordBatch | None:
        """All lines of a piece except blank ones, as a batch of SCHEMA that may have nulls.

        None if any line is not well formed. This does not say which one.
        """
        trying = len(piece.ends) >= LEAST_LINES and self._futile < _FUTILE
        if trying and (columns := self._repeats.parse(piece)) is not None:
            self._futile = 0
            return self._to_batch(columns, len(piece.ends))
        table = self._csv.read(piece)
        if table is None:
            return None
        self._futile += trying
        return self._to_batch(_arrays(table), table.num_rows)

    def parse_lines(self, lines: list[bytes], times_us: list[int]) -> pa.RecordBatch | None:
        """Lines that ``classify`` accepted, with their timestamps; None if Arrow refuses one."""
        # The line feed in front keeps Arrow from taking a first character U+FEFF for a BOM.
        data = memoryview(b"\n" + b"\n".join(lines) + b"\n")
        table = self._csv.read_lines(data, with_time=False)
        if table is None or table.num_rows != len(lines):
            return None
        times = {TIMESTAMP: pa.array(times_us, pa.int64()).cast(TIMESTAMP_TYPE)}
        return self._to_batch(_arrays(table) | times, len(lines))

    def _to_batch(self, columns: Mapping[str, pa.Array], rows: int) -> pa.RecordBatch | None:
        labels = [columns[name] if name in columns else _empty_labels(rows) for name in LABELS]
        try:
            for column in labels:
                column.dictionary.validate(full=True)
        except pa.ArrowInvalid:  # not UTF-8
            return None
        return pa.RecordBatch.from_arrays(
            [self._times(columns, rows), *labels, columns[VALUE]], schema=SCHEMA
        )

    def _times(self, columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
        times = columns.get(TIMESTAMP)
        times = pa.nulls(rows, TIMESTAMP_TYPE) if times is None else times
        times = times.cast(TIMESTAMP_TYPE, safe=False)
        if self._no_time_us is None or not times.null_count:
            return times
        return times.fill_null(pa.scalar(self._no_time_us).cast(TIMESTAMP_TYPE))


def _arrays(table: pa.Table) -> dict[str, pa.Array]:
    return {name: only_chunk(table, name) for name in table.column_names}


def _empty_labels(rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([""]))
