"""The CSV of DCGM or nvidia-smi as a source: any range of its rows, and the rejected rows.

A row is a line below the header, so row N is always line N + 2 of the file. A line of nvidia-smi
has as many rows as the first header has columns of values. Blank lines, and more headers (in files
that were joined), have numbers and are skipped; a damaged line is rejected alone. A line break
within quotes is therefore not supported: it makes two damaged lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from gputel.sources.csv.open import AS_IN_FILE, CsvOptions, OpenCsv, open_csv
from gputel.sources.dcgm.chunk import CsvChunk, RejectedRow, concatenate, excerpt, stamp
from gputel.sources.dcgm.lines import LineReader, Piece, count_lines

__all__ = ["CsvChunk", "CsvFile", "RejectedRow"]


class CsvFile:
    """A file, plain or compressed. Its methods block; call them one at a time.

    With the time of the read, row i of a chunk gets that time plus i microseconds, and time never
    goes backward from one chunk to the next.
    """

    def __init__(
        self,
        file: OpenCsv,
        options: CsvOptions = AS_IN_FILE,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = file.path
        self.name = file.path.name
        self._own_times = options.timestamps == "source"
        self._clock_ns = clock_ns
        self._last_us = 0
        self._rows: int | None = None
        self._stream = file.stream
        self._data_offset = file.data_offset
        self._lines = LineReader(self._stream, self._data_offset)
        self._parser = file.parser(options)
        self.rows_per_line = self._parser.rows_per_line
        self.notes = file.notes(options)
        self.fingerprint = self._stream.fingerprint()

    @classmethod
    def open(
        cls,
        path: Path,
        options: CsvOptions = AS_IN_FILE,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> CsvFile:
        """Open a file and check its header; raises SourceError naming it and what to do.

        A file with a header and no rows is valid, see ``is_empty``.
        """
        return cls(open_csv(path), options, clock_ns)

    @property
    def stream_id(self) -> str:
        """The default name of its stream: the same for the same content, wherever it lies."""
        return f"csv-{self.fingerprint[:16]}"

    @property
    def is_empty(self) -> bool:
        """Whether the file has only blank lines below the header."""
        lines = LineReader(self._stream.twin(), self._data_offset)
        while piece := lines.next_piece(1024):
            if piece.problem or bytes(piece.data).strip():
                return False
        return True

    @property
    def damage(self) -> str | None:
        """Why a compressed file ended too early, once that end has been reached."""
        return self._stream.damage

    def read(self, first_row: int, row_count: int) -> CsvChunk:
        """Rows from first_row on, at most row_count; fewer only at the end of the file.

        It costs nothing extra to continue where the last read ended. A jump scans lines from the
        last known position before it, in a gzip file from its start. Raises SourceError if the
        file cannot be read.
        """
        chunk = self.read_unstamped(first_row, row_count)
        return chunk if self._own_times else self.stamped(chunk)

    def read_unstamped(self, first_row: int, row_count: int) -> CsvChunk:
        """As ``read``, but always with the file's own timestamps."""
        self._lines.go_to_line(first_row // self.rows_per_line, self._parser.pass_over)
        batches: list[pa.RecordBatch] = []
        rejects: list[RejectedRow] = []
        end = first_row + row_count
        end_line = -(-end // self.rows_per_line)
        while self._lines.next_line < end_line:
            piece = self._lines.next_piece(end_line - self._lines.next_line)
            if piece is None:
                break
            batches += self._take(piece, first_row, end, rejects)
        read_to = self._lines.next_line * self.rows_per_line
        covered = max(0, min(end, read_to) - first_row)
        at_end = self._lines.at_end and end >= read_to
        return CsvChunk(concatenate(batches), first_row, covered, rejects, at_end)

    def stamped(self, chunk: CsvChunk) -> CsvChunk:
        """The chunk with the time of processing, unless ``timestamps`` is ``source``."""
        if self._own_times:
            return chunk
        first_us = max(self._clock_ns() // 1000, self._last_us + 1)
        self._last_us = first_us + max(0, chunk.batch.num_rows - 1)
        chunk.batch = stamp(chunk.batch, first_us)
        return chunk

    def count_rows(self) -> int:
        """The number of rows, skipped ones too. The first call scans the whole file."""
        if self._rows is None:
            stream = self._stream.twin()
            self._rows = count_lines(stream, self._data_offset) * self.rows_per_line
            stream.close()
        return self._rows

    def _take(
        self, piece: Piece, first_row: int, end: int, rejects: list[RejectedRow]
    ) -> Iterator[pa.RecordBatch]:
        """The batches of a piece, without rows of its lines that are not within the range."""
        if piece.problem:
            self._parser.pass_over(piece)
            if piece.first_line * self.rows_per_line >= first_row:
                rejects.append(self._reject(piece, 0, piece.problem, None))
            return
        for parser, parsed in self._parser.parse(piece):
            start = parsed.piece.first_line * self.rows_per_line
            stop = parsed.piece.end_line * self.rows_per_line
            if start < first_row or stop > end:
                parsed = parsed.between(first_row - start, end - start)
            yield parsed.batch
            for index, problem in parsed.problems:
                title = parser.title(index, problem.column)
                rejects.append(self._reject(parsed.piece, index, problem.reason, title))

    def _reject(self, piece: Piece, index: int, reason: str, title: str | None) -> RejectedRow:
        row = piece.first_line * self.rows_per_line + index
        text = excerpt(piece.line(index // self.rows_per_line))
        return RejectedRow(row, row // self.rows_per_line + 2, title, reason, text)
