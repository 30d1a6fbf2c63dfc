"""Lines to columns, many at a time: no Python runs per row.

``parse`` answers None where it cannot vouch for every line; ``classify`` then looks at them one
by one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from gputel.model.columns import (
    LABEL_TYPE,
    LABELS,
    SCHEMA,
    TIMESTAMP,
    TIMESTAMP_TYPE,
    VALUE,
)
from gputel.sources.flaws import text_of
from gputel.sources.header import BOM, Layout
from gputel.sources.lines import Int64, Piece

_LF, _CR, _QUOTE, _COMMA = b'\n\r",'
_NAIVE, _ZONED = pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")


class ColumnParser:
    """Parses lines of one layout; remembers whether the file's timestamps name a zone."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._time_type = _ZONED

    def parse(self, piece: Piece) -> pa.RecordBatch | None:
        """All lines of a piece but blank ones, as a batch of SCHEMA that may hold nulls.

        None if any line is not well formed: then nothing is said about the others.
        """
        quotes = int(np.count_nonzero(piece.text == _QUOTE))
        if quotes % 2 or not _is_plain_text(piece):
            return None
        batch = self._read(piece.data)
        if batch is None or batch.num_rows != len(piece.ends) - _blank_lines(piece, batch):
            return None
        if not self._quotes_are_in_place(piece, batch, quotes):
            return None
        return batch

    def parse_lines(self, lines: list[bytes], times_us: list[int]) -> pa.RecordBatch | None:
        """Lines that were found well formed, with their timestamps; None if Arrow disagrees."""
        # The line feed in front keeps Arrow from taking a first character U+FEFF for a BOM.
        columns = self._read_csv(memoryview(b"\n" + b"\n".join(lines) + b"\n"), with_time=False)
        if columns is None or columns.num_rows != len(lines):
            return None
        return self._to_batch(columns, pa.array(times_us, pa.int64()).cast(TIMESTAMP_TYPE))

    def _read(self, data: memoryview) -> pa.RecordBatch | None:
        columns = self._read_csv(data, with_time=True)
        if columns is None:
            return None
        times = _only_chunk(columns, TIMESTAMP).cast(TIMESTAMP_TYPE, safe=False)
        return self._to_batch(columns, times)

    def _to_batch(self, columns: pa.Table, times: pa.Array) -> pa.RecordBatch | None:
        arrays = [times]
        for name in LABELS:
            if name in self._layout.places:
                arrays.append(_only_chunk(columns, name))
            else:
                arrays.append(_empty_labels(columns.num_rows))
        arrays.append(_only_chunk(columns, VALUE))
        try:
            for labels in arrays[1:-1]:
                labels.dictionary.validate(full=True)
        except pa.ArrowInvalid:  # not UTF-8
            return None
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)

    def _read_csv(self, data: memoryview, *, with_time: bool) -> pa.Table | None:
        try:
            return self._call_arrow(data, with_time=with_time)
        except pa.ArrowInvalid as error:
            if not with_time or "zone offset" not in str(error):
                return None
        seen, self._time_type = self._time_type, _NAIVE if self._time_type == _ZONED else _ZONED
        try:
            return self._call_arrow(data, with_time=with_time)
        except pa.ArrowInvalid:
            self._time_type = seen
            return None

    def _call_arrow(self, data: memoryview, *, with_time: bool) -> pa.Table:
        known = [name for name in self._layout.places if with_time or name != TIMESTAMP]
        types = dict.fromkeys(known, LABEL_TYPE)
        types |= {TIMESTAMP: self._time_type, VALUE: pa.float64()}
        # Not read_csv, which hands every block from one thread to another.
        reader = pa.csv.open_csv(
            pa.BufferReader(pa.py_buffer(data)),
            read_options=pa.csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=self._layout.names
            ),
            convert_options=pa.csv.ConvertOptions(
                # Text is checked once a distinct value instead, see _to_batch.
                check_utf8=False,
                column_types=types,
                include_columns=known,
                null_values=[""],
            ),
        )
        return reader.read_all()

    def _quotes_are_in_place(self, piece: Piece, batch: pa.RecordBatch, quotes: int) -> bool:
        """Whether no quote stands within an unquoted field, where Arrow would keep it.

        Where all fields are quoted, the numbers add up: two quotes a field, and two for each
        quote in a value. A quote out of place only ever makes it fewer.
        """
        if not quotes:
            return True
        if not self._layout.ignores:
            expected = 2 * self._layout.width * batch.num_rows + 2 * _quotes_in_labels(batch)
            if quotes == expected:
                return True
        text = piece.text
        opening = np.flatnonzero(text == _QUOTE)[::2]
        before = text[opening - (opening > 0)]
        fits = (before == _COMMA) | (before == _LF) | (before == _QUOTE)
        return bool(fits.all())


def _is_plain_text(piece: Piece) -> bool:
    """Whether nothing is in there that Arrow would take for something else than text."""
    buffer, start, stop = piece.buffer, piece.start, piece.stop
    if buffer.find(0, start, stop) >= 0 or buffer.startswith(BOM, start, stop):
        return False
    if buffer.find(_CR, start, stop) < 0:
        return True
    text, ends = piece.text, piece.ends - piece.start
    before_feeds = text[np.maximum(ends - 2, 0)][text[ends - 1] == _LF]
    in_line_ends = int(np.count_nonzero(before_feeds == _CR)) + (text[-1] == _CR)
    return bool(np.count_nonzero(text == _CR) == in_line_ends)


def _blank_lines(piece: Piece, batch: pa.RecordBatch) -> int:
    if batch.num_rows == len(piece.ends):
        return 0
    return int(np.count_nonzero(blank_lines(piece)))


def blank_lines(piece: Piece) -> npt.NDArray[np.bool_]:
    """Which lines hold nothing but their line end."""
    sizes: Int64 = np.diff(piece.ends, prepend=piece.start)
    first = piece.text[piece.ends - sizes - piece.start]
    bare = (sizes == 1) & ((first == _LF) | (first == _CR))
    blank: npt.NDArray[np.bool_] = bare | ((sizes == 2) & (first == _CR))
    return blank


def _quotes_in_labels(batch: pa.RecordBatch) -> int:
    total = 0
    for name in LABELS:
        column = batch.column(name)
        offsets, text = text_of(column.dictionary)
        quotes = np.flatnonzero(text == _QUOTE)
        if len(quotes):
            counts = np.diff(np.searchsorted(quotes, offsets))
            total += int(counts[column.indices.to_numpy()].sum())
    return total


def _only_chunk(columns: pa.Table, name: str) -> pa.Array:
    column = columns.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _empty_labels(rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([""]))
