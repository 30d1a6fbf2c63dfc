"""Lines to columns by Arrow's CSV reader, with checks for the faults that Arrow accepts."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from gputel.model.bounds import text_of
from gputel.model.columns import LABEL_TYPE, LABELS, TIMESTAMP, TIMESTAMP_TYPE, VALUE
from gputel.sources.dcgm.header import BOM, Layout
from gputel.sources.dcgm.lines import Int64, Piece
from gputel.sources.dcgm.times import unix_us

_LF, _CR, _QUOTE, _COMMA = b'\n\r",'
_REFUSED_TIME = re.compile(r"to timestamp.*(?:invalid value|zone offset in) '([^']*)'")
_NAIVE, _ZONED = pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")


class StrictCsv:
    """Reads lines of one layout; remembers whether the file's timestamps have a zone.

    Blank lines are skipped. If ``blank_is_a_line`` is set, they are lines with one empty field.
    """

    def __init__(self, layout: Layout, *, blank_is_a_line: bool = False) -> None:
        self._layout = layout
        self._blank_is_a_line = blank_is_a_line
        self._time_type = _ZONED

    def read(self, piece: Piece) -> pa.Table | None:
        """The known columns of all lines: timestamp in ns, labels as dictionaries, float64 value.

        Blank times and values are null; text need not be UTF-8. None if any line is not well
        formed. This does not say which one.
        """
        quotes = int(np.count_nonzero(piece.text == _QUOTE))
        if quotes % 2 or not _is_plain_text(piece):
            return None
        columns = self.read_lines(piece.data, with_time=True)
        if columns is None or columns.num_rows != len(piece.ends) - self._blank(piece, columns):
            return None
        return columns if self._quotes_are_in_place(piece, columns, quotes) else None

    def read_lines(self, data: memoryview, *, with_time: bool) -> pa.Table | None:
        """The columns that Arrow reads, unchecked; None if it refuses a line."""
        kinds = [self._time_type, _NAIVE if self._time_type == _ZONED else _ZONED]
        for kind in kinds if with_time else kinds[:1]:
            try:
                table = self._call_arrow(data, kind, with_time=with_time)
            except pa.ArrowInvalid as error:
                if not with_time or not _is_time_of_others(str(error)):
                    return None
            else:
                self._time_type = kind
                return table
        return self._with_times_of_others(data) if with_time else None

    def _with_times_of_others(self, data: memoryview) -> pa.Table | None:
        """As Arrow reads it, but the times as ``unix_us`` reads them, each distinct text once."""
        try:
            table = self._call_arrow(data, LABEL_TYPE, with_time=True)
            texts = only_chunk(table, TIMESTAMP)
            times = [unix_us(text) for text in texts.dictionary.to_pylist()]
        except (pa.ArrowInvalid, ValueError):  # not UTF-8 is a ValueError too
            return None
        times_us = pa.array(times, pa.int64()).cast(TIMESTAMP_TYPE).take(texts.indices)
        place = table.column_names.index(TIMESTAMP)
        return table.set_column(place, TIMESTAMP, times_us)

    def _call_arrow(self, data: memoryview, time_type: pa.DataType, *, with_time: bool) -> pa.Table:
        known = [name for name in self._layout.places if with_time or name != TIMESTAMP]
        types = dict.fromkeys(known, LABEL_TYPE)
        types |= {TIMESTAMP: time_type, VALUE: pa.float64()}
        # Not read_csv, which hands every block from one thread to another.
        reader = pa.csv.open_csv(
            pa.BufferReader(pa.py_buffer(data)),
            read_options=pa.csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=self._layout.names
            ),
            parse_options=pa.csv.ParseOptions(ignore_empty_lines=not self._blank_is_a_line),
            convert_options=pa.csv.ConvertOptions(
                # The caller checks the text instead, once for each distinct value.
                check_utf8=False,
                column_types=types,
                include_columns=known,
                null_values=[""],
            ),
        )
        return reader.read_all()

    def _blank(self, piece: Piece, columns: pa.Table) -> int:
        if self._blank_is_a_line or columns.num_rows == len(piece.ends):
            return 0
        return int(np.count_nonzero(blank_lines(piece)))

    def _quotes_are_in_place(self, piece: Piece, columns: pa.Table, quotes: int) -> bool:
        """Whether no quote is within an unquoted field, where Arrow would accept it.

        If all fields are quoted, there are two quotes for each field and two for each quote in a
        value. A misplaced quote always makes this number too small.
        """
        if not quotes:
            return True
        if not self._layout.ignores:
            expected = 2 * self._layout.width * columns.num_rows + 2 * _quotes_in_labels(columns)
            if quotes == expected:
                return True
        text = piece.text
        opening = np.flatnonzero(text == _QUOTE)[::2]
        before = text[opening - (opening > 0)]
        fits = (before == _COMMA) | (before == _LF) | (before == _QUOTE)
        return bool(fits.all())


def _is_time_of_others(error: str) -> bool:
    """Whether Arrow's message is of a text that is a time all the same."""
    match = _REFUSED_TIME.search(error)
    if match is None:
        return False
    try:
        unix_us(match[1])
    except ValueError:
        return False
    return True


def _is_plain_text(piece: Piece) -> bool:
    """Whether the piece has no byte that Arrow would not take as text."""
    buffer, start, stop = piece.buffer, piece.start, piece.stop
    if buffer.find(0, start, stop) >= 0 or buffer.startswith(BOM, start, stop):
        return False
    if buffer.find(_CR, start, stop) < 0:
        return True
    text, ends = piece.text, piece.ends - piece.start
    before_feeds = text[np.maximum(ends - 2, 0)][text[ends - 1] == _LF]
    in_line_ends = int(np.count_nonzero(before_feeds == _CR)) + (text[-1] == _CR)
    return bool(np.count_nonzero(text == _CR) == in_line_ends)


def blank_lines(piece: Piece) -> npt.NDArray[np.bool_]:
    """Which lines are empty except for their line end."""
    sizes: Int64 = np.diff(piece.ends, prepend=piece.start)
    first = piece.text[piece.ends - sizes - piece.start]
    bare = (sizes == 1) & ((first == _LF) | (first == _CR))
    blank: npt.NDArray[np.bool_] = bare | ((sizes == 2) & (first == _CR))
    return blank


def _quotes_in_labels(columns: pa.Table) -> int:
    total = 0
    for name in set(LABELS) & set(columns.column_names):
        column = only_chunk(columns, name)
        offsets, text = text_of(column.dictionary)
        quotes = np.flatnonzero(text == _QUOTE)
        if len(quotes):
            counts = np.diff(np.searchsorted(quotes, offsets))
            total += int(counts[column.indices.to_numpy()].sum())
    return total


def only_chunk(columns: pa.Table, name: str) -> pa.Array:
    """A column of a table as one array."""
    column = columns.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
