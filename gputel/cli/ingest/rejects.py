"""The rejects file: every rejected line, with its position and the reason."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gputel.errors import SourceError
from gputel.owned_files import open_output, output_path

if TYPE_CHECKING:
    from gputel.streamer.publisher import ReadChunk

SUFFIX = ".rejects.csv"
_COLUMNS = ("file", "line", "column", "reason", "text")


class Rejects:
    """One rejects file, which the first reject creates."""

    def __init__(self, path: Path, *, append: bool) -> None:
        self.path = path
        self._append = append
        self._file: TextIO | None = None

    def check(self) -> None:
        """Raise SourceError, before anything is read, if the file cannot be written."""
        try:
            output_path(self.path)
        except OSError as error:
            raise self._failed(error) from None
        written = self.path if self.path.exists() else self.path.parent
        if not os.access(written, os.W_OK):
            raise SourceError(_not_written(self.path, "no such directory, or no right to write"))

    def write(self, source: str, chunk: ReadChunk) -> None:
        """Write the rejects of one chunk. Raises SourceError if that fails."""
        try:
            if self._file is None:
                self._file = self._open()
            writer = csv.writer(self._file)
            for reject in chunk.rejects:
                position = (source, reject.line, reject.column or "")
                writer.writerow((*position, reject.reason, reject.text))
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from None

    def _open(self) -> TextIO:
        fresh = not (self._append and self.path.exists())
        descriptor = open_output(self.path, append=not fresh)
        file = os.fdopen(  # O_APPEND is the descriptor's, not the mode's
            descriptor, "w", encoding="utf-8", errors="surrogateescape", newline=""
        )
        if fresh:
            csv.writer(file).writerow(_COLUMNS)
        return file

    def close(self) -> str | None:
        """Close the file; returns its path, or None if there were no rejects.

        Raises SourceError if it is not written completely.
        """
        if self._file is None:
            return None
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from None
        return str(self.path)

    def _failed(self, error: OSError) -> SourceError:
        return SourceError(_not_written(self.path, error.strerror or str(error)))


def _not_written(path: Path, reason: str) -> str:
    return f"cannot write the rejects file {path} ({reason}): name another with --rejects"
