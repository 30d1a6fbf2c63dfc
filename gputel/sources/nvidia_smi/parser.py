"""The lines of nvidia-smi's CSV, each of which has several rows: one for each value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gputel.model.names import TIMESTAMP, VALUE
from gputel.sources.dcgm.chunk import concatenate
from gputel.sources.dcgm.classify import Malformed
from gputel.sources.dcgm.header import parse_header
from gputel.sources.dcgm.joined import Clock
from gputel.sources.dcgm.lines import Int64, Piece
from gputel.sources.dcgm.piece import ParsedPiece, PieceParser, Problems
from gputel.sources.nvidia_smi.clock import LocalClock
from gputel.sources.nvidia_smi.header import SmiLayout
from gputel.sources.nvidia_smi.lines import HEADER, SmiLines

_ROWS_AT_ONCE = 16_384  # a row of DCGM's form is about 400 bytes


class SmiParser:
    """Parses the lines below one header as PieceParser does. A row is a value of a line.

    Row r of a piece is the value r modulo ``rows_per_line`` of its line r / ``rows_per_line``.
    """

    def __init__(
        self, layout: SmiLayout, host: str, rows_per_line: int, *, keep_impossible: bool = False
    ) -> None:
        self._layout = layout
        self.rows_per_line = rows_per_line
        self._lines = SmiLines(layout, host, rows_per_line)
        self._parser = PieceParser(parse_header(HEADER, Path()), keep_impossible=keep_impossible)

    def parse_whole(self, _piece: Piece) -> None:
        """None: this is never quick."""

    def parse_parts(self, piece: Piece) -> Iterator[ParsedPiece]:
        """Parse every line."""
        for part in piece.split(max(1, _ROWS_AT_ONCE // self.rows_per_line)):
            yield self._parse(part)

    def clock(self) -> Clock:
        """A new check of local times."""
        return LocalClock(self._layout.time_place).problem_of

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


def _piece_of(lines: list[bytes]) -> Piece:
    ends: Int64 = np.cumsum([len(line) for line in lines], dtype=np.int64)
    return Piece(0, bytearray(b"".join(lines)), 0, ends)
