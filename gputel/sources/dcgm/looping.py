"""A file as an endless source: its rows again and again."""

from __future__ import annotations

from dataclasses import replace

from gputel.errors import SourceError
from gputel.sources.dcgm.chunk import CsvChunk, RejectedRow, concatenate
from gputel.sources.dcgm.file import DcgmCsv


class LoopingSource:
    """Row N is the file's row ``N % rows``; there is no last row."""

    def __init__(self, csv: DcgmCsv) -> None:
        self._csv = csv

    def count_rows(self) -> int:
        """The number of rows in the file. The first call scans the file and blocks."""
        return self._csv.count_rows()

    def read(self, first_row: int, row_count: int) -> CsvChunk:
        """Exactly row_count rows from first_row on; after the end, the file begins again.

        Blocks. Raises SourceError for a file without rows, and as DcgmCsv.read does.
        """
        rows = self._rows()
        parts: list[CsvChunk] = []
        rejects: list[RejectedRow] = []
        row, end = first_row, first_row + row_count
        while row < end:
            part = self._csv.read_unstamped(row % rows, min(end - row, rows - row % rows))
            if not part.row_count:
                raise SourceError(
                    f"{self._csv.path}: shrank while it was read; loop over a file at rest"
                )
            shift = row - part.first_row
            rejects += [replace(reject, row=reject.row + shift) for reject in part.rejects]
            parts.append(part)
            row += part.row_count
        batch = concatenate([part.batch for part in parts])
        return self._csv.stamped(CsvChunk(batch, first_row, row_count, rejects, at_end=False))

    def _rows(self) -> int:
        rows = self._csv.count_rows()
        if not rows:
            raise SourceError(
                f"{self._csv.path}: no rows below the header; there is nothing to loop over"
            )
        return rows
