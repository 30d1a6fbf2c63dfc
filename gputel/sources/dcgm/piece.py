"""One piece of lines to record batches: at once if all lines are good, else line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from gputel.model.bounds import without_oversized
from gputel.sources.dcgm.blanks import without_blanks
from gputel.sources.dcgm.classify import Malformed, Sorted, isolate, sort_lines
from gputel.sources.dcgm.flaws import checked, without_rows
from gputel.sources.dcgm.header import Layout
from gputel.sources.dcgm.lines import Int64, Piece
from gputel.sources.dcgm.parse import ColumnParser
from gputel.sources.dcgm.strict import blank_lines

_LINES_AROUND_DAMAGE = 1024
_PARTS = 16

Problems = list[tuple[int, Malformed]]
"""The faulty lines in order: the index in the piece, and what is wrong."""


@dataclass(frozen=True)
class ParsedPiece:
    """The good lines of a piece as a batch of SCHEMA, and the problems of the others.

    ``rows`` has the index of the line of each row; None: all lines but blank ones. Where a line has
    several rows, these count and not the lines, in ``problems`` too.
    """

    piece: Piece
    batch: pa.RecordBatch
    problems: Problems = field(default_factory=list)
    rows: Int64 | None = None

    @property
    def row_lines(self) -> Int64:
        """The index in the piece of the line of each row."""
        return np.flatnonzero(~blank_lines(self.piece)) if self.rows is None else self.rows

    def between(self, first: int, end: int) -> ParsedPiece:
        """Only the rows from ``first`` to before ``end``, as ``row_lines`` counts them."""
        rows = self.row_lines
        keep = (rows >= first) & (rows < end)
        problems = [problem for problem in self.problems if first <= problem[0] < end]
        return ParsedPiece(self.piece, self.batch.filter(pa.array(keep)), problems, rows[keep])


class PieceParser:
    """Parses pieces of one file.

    A line without a time gets ``no_time_us``, or is a problem. Values that their field cannot have
    are problems unless ``keep_impossible`` is set.
    """

    rows_per_line = 1

    def __init__(
        self, layout: Layout, no_time_us: int | None = None, *, keep_impossible: bool = False
    ) -> None:
        self._layout = layout
        self._keep_impossible = keep_impossible
        self._no_time_us = no_time_us
        self._columns = ColumnParser(layout, no_time_us)

    def parse(self, piece: Piece) -> Iterator[ParsedPiece]:
        """Parse every line. Only lines near a damaged one are parsed one by one."""
        whole = self.parse_whole(piece)
        yield from self.parse_parts(piece) if whole is None else (whole,)

    def parse_whole(self, piece: Piece) -> ParsedPiece | None:
        """As ``parse``; None if any line is malformed."""
        return self._whole(self._trimmed(piece))

    def parse_parts(self, piece: Piece) -> Iterator[ParsedPiece]:
        """As ``parse``, where it is known that some line is malformed."""
        return self._parts(self._trimmed(piece))

    def clock(self) -> None:
        """No check of times: lines may be in any order."""

    def title(self, _row: int, column: str | None) -> str | None:
        """The title of a faulty column; ``column`` is gputel's name."""
        return self._layout.titles.get(column or "")

    def _trimmed(self, piece: Piece) -> Piece:
        return without_blanks(piece) if self._layout.spaced else piece

    def _whole(self, piece: Piece) -> ParsedPiece | None:
        batch = self._columns.parse(piece)
        return None if batch is None else self._without_flaws(batch, None, piece)

    def _parts(self, piece: Piece) -> Iterator[ParsedPiece]:
        if len(piece.ends) <= _LINES_AROUND_DAMAGE:
            yield self._parse_by_line(piece)
            return
        for part in piece.split(max(_LINES_AROUND_DAMAGE, len(piece.ends) // _PARTS)):
            whole = self._whole(part)
            yield from self._parts(part) if whole is None else (whole,)

    def _parse_by_line(self, piece: Piece) -> ParsedPiece:
        lines = sort_lines(piece, self._layout, self._no_time_us)
        batch = self._columns.parse_lines(lines.lines, lines.times_us)
        if batch is None:
            lines = self._drop_refused(lines)
            batch = self._columns.parse_lines(lines.lines, lines.times_us)
        assert batch is not None  # every line of it was accepted on its own
        parsed = self._without_flaws(batch, np.array(lines.indices, np.int64), piece)
        problems = sorted(parsed.problems + lines.malformed, key=lambda problem: problem[0])
        return ParsedPiece(piece, parsed.batch, problems, parsed.row_lines)

    def _without_flaws(
        self, batch: pa.RecordBatch, lines: Int64 | None, piece: Piece
    ) -> ParsedPiece:
        """Drop rows with flaws.

        ``lines`` has the line of each row; None: all lines but blank ones.
        """
        batch, flaws = checked(batch, keep_impossible=self._keep_impossible)
        if not flaws:
            return ParsedPiece(piece, without_oversized(batch), rows=lines)
        if lines is None:
            lines = np.flatnonzero(~blank_lines(piece))
        good, keep = without_rows(batch, flaws)
        problems = [
            (int(lines[row]), Malformed(reason, name))
            for row, (name, reason) in sorted(flaws.items())
        ]
        return ParsedPiece(piece, without_oversized(good), problems, lines[keep])

    def _drop_refused(self, lines: Sorted) -> Sorted:
        """Move the lines that Arrow refuses to the malformed ones."""

        def refused(numbers: list[int]) -> bool:
            some = [lines.lines[number] for number in numbers]
            return self._columns.parse_lines(some, [lines.times_us[at] for at in numbers]) is None

        bad = isolate(list(range(len(lines.lines))), refused)
        kept = sorted(set(range(len(lines.lines))) - set(bad))
        return Sorted(
            [lines.indices[number] for number in kept],
            [lines.lines[number] for number in kept],
            [lines.times_us[number] for number in kept],
            lines.malformed + [(lines.indices[at], Malformed("cannot be parsed")) for at in bad],
        )
