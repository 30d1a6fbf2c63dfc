"""A file without end: its rows over and over."""

from __future__ import annotations

from dataclasses import replace

from gputel.errors import SourceError
from gputel.sources.dcgm.chunk import Reject, SourceChunk, concatenate
from gputel.sources.dcgm.file import DcgmCsv


class LoopingSource:
    """Row N is the file's row ``N % rows``; a read never comes to an end."""

    def __init__(self, csv: DcgmCsv) -> None:
        self._csv = csv

    def count_rows(self) -> int:
        """Rows of one pass. Blocks for a scan of the file, once."""
        return self._csv.count_rows()

    def read(self, first_row: int, row_count: int) -> SourceChunk:
        """Exactly row_count rows from first_row on, over the file's end and round again.

        Blocks. Raises SourceError for a file without rows, and as DcgmCsv.read does.
        """
        rows = self._rows()
        parts: list[SourceChunk] = []
        rejects: list[Reject] = []
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
        return self._csv.stamped(SourceChunk(batch, first_row, row_count, rejects, at_end=False))

    def _rows(self) -> int:
        rows = self._csv.count_rows()
        if not rows:
            raise SourceError(
                f"{self._csv.path}: no rows below the header; there is nothing to loop over"
            )
        return rows
