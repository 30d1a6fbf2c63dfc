"""Lines whose parts repeat: every distinct part is parsed once.

A DCGM file repeats the labels of its series all the time. Each line is cut at the commas around
its time and its value. Each part is looked up by its bytes, and only distinct parts are parsed and
checked, as lines of their own:

    "2025-07-18T20:42:34Z" ,"DCGM_FI_DEV_GPU_UTIL","0",...,"" ,"42" ,"gpu=""0"",..."
    time                   labels                             value  labels

If all parts are well-formed CSV with the expected number of fields, so is the line: each part ends
where a field ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.columns import TIMESTAMP, TIMESTAMP_TYPE, VALUE
from gputel.sources.dcgm.header import Layout
from gputel.sources.dcgm.lines import Int64, Piece, places_of
from gputel.sources.dcgm.strict import StrictCsv, only_chunk

LEAST_LINES = 4096
"""In a piece of fewer lines, too few parts repeat."""

_COMMA = ord(",")
_MOST_BYTES = 16 * 1024 * 1024  # of the cached parts, for each position in a line
_ENTRY_BYTES = 200  # of a text's entry in the dict and its number, without the text itself

Int32 = npt.NDArray[np.int32]


class RepeatsParser:
    """Parses pieces of one layout; caches the parts that it has parsed."""

    def __init__(self, layout: Layout) -> None:
        self._parts = list(_parts(layout))

    def parse(self, piece: Piece) -> dict[str, pa.Array] | None:
        """The known columns of all lines, timestamps in microseconds, the others as StrictCsv's.

        None if a line is blank or not well formed, has a comma within a field before the last
        cut, or if the lines have too little in common.
        """
        offsets = self._cut(piece)
        if offsets is None:
            return None
        count = len(offsets) - 1
        texts = pa.Array.from_buffers(
            pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(piece.buffer)]
        ).dictionary_encode()
        if len(texts.dictionary) > count // 2:
            return None
        codes = texts.indices.to_numpy().reshape(-1, len(self._parts))
        columns: dict[str, pa.Array] = {}
        for number, part in enumerate(self._parts):
            entries, rows = _distinct(codes[:, number], len(texts.dictionary))
            entries_of_part = part.places(texts.dictionary.take(entries).to_pylist())
            if entries_of_part is None:
                return None
            columns |= part.columns(pa.array(entries_of_part[rows]))
        return columns

    def _cut(self, piece: Piece) -> Int32 | None:
        """The offset of each part of each line in the buffer, and of the end of the last part."""
        commas = places_of(_COMMA, piece.text) + piece.start
        starts: Int64 = np.concatenate(([piece.start], piece.ends[:-1]))
        first = np.searchsorted(commas, starts)
        last_cut = self._parts[-1].cut
        if len(commas) <= first[-1] + last_cut or (commas[first + last_cut] >= piece.ends).any():
            return None
        offsets = np.empty((len(starts), len(self._parts)), np.int32)
        for number, part in enumerate(self._parts):
            offsets[:, number] = starts if part.cut < 0 else commas[first + part.cut]
        return np.append(offsets.ravel(), np.int32(piece.stop))


class _LinePart:
    """Columns side by side. ``cut`` is the number of the comma before them, -1 for the first.

    Only the last part of a line has the line end.
    """

    def __init__(self, cut: int, layout: Layout, *, is_last: bool) -> None:
        self.cut = cut
        self._is_last = is_last
        self._csv = StrictCsv(layout, blank_is_a_line=True)
        self._forget()

    def _forget(self) -> None:
        self._known: dict[bytes, int] = {}
        self._table: pa.Table | None = None
        self._held_bytes = 0

    def places(self, texts: list[bytes]) -> Int32 | None:
        """The number of each text among the cached ones; None if a text is malformed."""
        if self._held_bytes > _MOST_BYTES:
            self._forget()
        fresh = [text for text in texts if text not in self._known]
        if fresh and not self._learn(fresh):
            return None
        return np.fromiter(map(self._known.__getitem__, texts), np.int32, len(texts))

    def columns(self, places: pa.Array) -> dict[str, pa.Array]:
        """The columns of the texts with these numbers."""
        table = self._table
        assert table is not None  # a piece has lines
        return {name: only_chunk(table, name).take(places) for name in table.column_names}

    def _learn(self, texts: list[bytes]) -> bool:
        if not self._is_last and any(text.endswith(b"\r") for text in texts):
            return False  # it would be taken for a line end
        table = self._csv.read(_as_lines(texts))
        if table is None:
            return False
        if table.column_names == [TIMESTAMP]:  # with a zone or without: one type for both
            table = table.cast(pa.schema([(TIMESTAMP, TIMESTAMP_TYPE)]), safe=False)
        if self._table is not None:
            table = pa.concat_tables([self._table, table]).unify_dictionaries().combine_chunks()
        self._table = table
        self._known |= zip(texts, range(len(self._known), table.num_rows), strict=True)
        self._held_bytes += sum(map(len, texts)) + _ENTRY_BYTES * len(texts)
        return True


def _parts(layout: Layout) -> Iterator[_LinePart]:
    """Time and value as parts of their own, because they change, and the parts around them."""
    alone = {layout.places[name] for name in (TIMESTAMP, VALUE) if name in layout.places}
    edges = sorted({0, layout.width} | alone | {place + 1 for place in alone})
    for begin, end in pairwise(edges):
        # A part that is not the first starts with the comma before it: with an empty field.
        names = layout.names[begin:end] if not begin else ("before", *layout.names[begin:end])
        known = {name: at for at, name in enumerate(names) if name in layout.places}
        yield _LinePart(begin - 1, Layout(names, known, {}), is_last=end == layout.width)


def _distinct(codes: Int32, size: int) -> tuple[pa.Array, Int32]:
    """The distinct codes (all are below ``size``), and for each code its index among them."""
    seen = np.zeros(size, np.bool_)
    seen[codes] = True
    places = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return pa.array(np.flatnonzero(seen)), places[codes]


def _as_lines(texts: list[bytes]) -> Piece:
    """The texts as lines; texts from the end of a line already have their line end."""
    lines = [text.removesuffix(b"\n").removesuffix(b"\r") for text in texts]
    buffer = bytearray(b"\n".join([*lines, b""]))
    sizes = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
    return Piece(0, buffer, 0, np.cumsum(sizes))
