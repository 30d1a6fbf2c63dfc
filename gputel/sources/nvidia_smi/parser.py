"""The lines of nvidia-smi's CSV, each of which has several rows: one for each value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gputel.model.names import TIMESTAMP, VALUE
from gputel.sources.dcgm.chunk import concatenate
from gputel.sources.dcgm.classify import Malformed
from gputel.sources.dcgm.header import Layout, parse_header
from gputel.sources.dcgm.lines import Int64, Piece
from gputel.sources.dcgm.piece import ParsedPiece, PieceParser, Problems
from gputel.sources.nvidia_smi.header import SmiLayout
from gputel.sources.nvidia_smi.lines import HEADER, SmiLines

_ROWS_AT_ONCE = 16_384  # a row of DCGM's form is about 400 bytes


class SmiParser:
    """Parses pieces of one file as PieceParser does. A row is a value of a line.

    Row r of a piece is the value r modulo ``rows_per_line`` of its line r / ``rows_per_line``.
    """

    def __init__(self, layout: SmiLayout, host: str, *, keep_impossible: bool = False) -> None:
        self._layout = layout
        self.rows_per_line = len(layout.values)
        self._lines = SmiLines(layout, host)
        self._parser = PieceParser(parse_header(HEADER, Path()), keep_impossible=keep_impossible)

    def parse(self, piece: Piece) -> Iterator[ParsedPiece]:
        """Parse every line."""
        for part in piece.split(max(1, _ROWS_AT_ONCE // self.rows_per_line)):
            yield self._parse(part)

    def title(self, row: int, column: str | None) -> str | None:
        """The title of the faulty column of a row; ``column`` is gputel's name."""
        if column == VALUE:
            return self._layout.values[row % self.rows_per_line].title
        return self._layout.titles[self._layout.time_place] if column == TIMESTAMP else column

    def _parse(self, piece: Piece) -> ParsedPiece:
        rewritten = self._lines.rewrite([piece.line(index) for index in range(len(piece.ends))])
        rows = np.array(rewritten.rows, np.int64)
        parts = list(self._parser.parse(_piece_of(rewritten.lines))) if len(rows) else []
        problems: Problems = [(row, Malformed(reason)) for row, reason in rewritten.flaws]
        for part in parts:
            first = part.piece.first_line
            problems += [(int(rows[first + index]), problem) for index, problem in part.problems]
        good = [rows[part.piece.first_line + part.row_lines] for part in parts]
        return ParsedPiece(
            piece,
            concatenate([part.batch for part in parts]),
            self._one_for_each_line(problems),
            np.concatenate(good) if good else np.empty(0, np.int64),
        )

    def _one_for_each_line(self, problems: Problems) -> Problems:
        """Problems in order. One that is not of a value is told once for its line."""
        result, last = [], -1
        for row, problem in sorted(problems, key=lambda problem: problem[0]):
            line = row // self.rows_per_line
            if problem.column == VALUE or line != last:
                result.append((row, problem))
            last = last if problem.column == VALUE else line
        return result


Parser = PieceParser | SmiParser


def parser_of(layout: Layout | SmiLayout, host: str, *, keep_impossible: bool) -> Parser:
    """The parser of a file. ``host`` is that of the GPUs in a file of nvidia-smi."""
    if isinstance(layout, SmiLayout):
        return SmiParser(layout, host, keep_impossible=keep_impossible)
    return PieceParser(layout, keep_impossible=keep_impossible)


def _piece_of(lines: list[bytes]) -> Piece:
    ends: Int64 = np.cumsum([len(line) for line in lines], dtype=np.int64)
    return Piece(0, bytearray(b"".join(lines)), 0, ends)
