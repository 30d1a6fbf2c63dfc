"""A CSV that other programs append to. It is followed by name, as by ``tail -F``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path

from gputel.errors import SourceError, UsageError
from gputel.sources.bytes.open import open_bytes
from gputel.sources.bytes.stream import PlainBytes
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.open import AS_IN_FILE, CsvOptions, OpenCsv
from gputel.sources.dcgm.chunk import CsvChunk
from gputel.sources.dcgm.header import HEADER_LIMIT
from gputel.sources.dcgm.lines import LINE_LIMIT, count_lines

_BLOCK_BYTES = 64 * 1024


class Fate(Enum):
    """The state of a followed file."""

    GROWING = "growing"  # or gone, and no other file has its name yet
    ROTATED = "rotated"  # another file has its name, so this one does not grow any more
    CUT = "cut"  # its content was deleted, and maybe written anew


class GrowingBytes(PlainBytes):
    """The bytes of a file up to its last line feed, as of the last look."""

    def look(self) -> None:
        """Look for new complete lines."""
        end = begin = os.fstat(self._descriptor).st_size
        while begin > self.size:
            begin = max(self.size, begin - _BLOCK_BYTES)
            place = self.read_at(begin, min(_BLOCK_BYTES, end - begin)).rfind(b"\n")
            if place >= 0:
                self.size = begin + place + 1
                return

    def take_all(self) -> None:
        """Take the text after the last line feed as a line."""
        self.size = os.fstat(self._descriptor).st_size

    def fate(self, head: bytes) -> Fate:
        """The state of the file that began with ``head``."""
        mine = os.fstat(self._descriptor)
        if mine.st_size < self.size or self.read_at(0, len(head)) != head:
            return Fate.CUT
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return Fate.GROWING
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be followed: {error.strerror}") from None
        same = (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)
        return Fate.GROWING if same else Fate.ROTATED


class GrowingCsv(CsvFile):
    """The rows of a growing file whose lines are complete.

    ``fingerprint`` is that of its head: the header and the first row. ``stream_id`` also has the
    inode, which tells files with the same head apart. Both stay the same when the file grows or
    is renamed.
    """

    def __init__(self, bytes_: GrowingBytes, options: CsvOptions) -> None:
        """Use ``open_growing``."""
        bytes_.size = 0
        bytes_.look()
        file = OpenCsv.of(bytes_.path, bytes_)
        super().__init__(file, options)
        self._bytes = bytes_
        self._head = bytes_.read_at(0, _head_size(bytes_) or 0)
        self._counted_to, self._counted = self._data_offset, 0
        self.fingerprint = _digest(b"head", self._head)
        inode = os.fstat(bytes_.fileno()).st_ino
        self._stream_id = f"tail-{_digest(self._head, b'%d' % inode)[:16]}"

    @property
    def stream_id(self) -> str:
        """The same while the file grows, and after it was renamed."""
        return self._stream_id

    def rows_ready(self) -> int:
        """The number of rows whose lines are complete; scans what was added since the last look."""
        self._bytes.look()
        if self._bytes.size > self._counted_to:
            self._counted += count_lines(self._bytes.twin(), self._counted_to)
            self._counted_to = self._bytes.size
        return self._counted * self.rows_per_line

    def rows_of(self, ended: Mapping[str, int]) -> int:
        """How many rows an ingest of the file has read, when the file ended with them; else 0.

        ``ended`` has the number of rows of ingests by the fingerprint of what they read. Reads
        the file up to there.
        """
        ready, per_line = self.rows_ready(), self.rows_per_line
        counts = sorted({count // per_line for count in ended.values() if 0 < count <= ready})
        for count, end in reversed([*zip(counts, self._ends_of(counts), strict=False)]):
            for size in (end, end - 1):  # the last line may have had no line feed
                prefix = PlainBytes(self.path, os.dup(self._bytes.fileno()), size)
                if ended.get(prefix.fingerprint()) == count * per_line:
                    return count * per_line
        return 0

    def _ends_of(self, counts: Sequence[int]) -> Iterator[int]:
        """The offset behind each of these numbers of lines, which rise."""
        passed, offset = 0, self._data_offset
        for count in counts:
            while passed < count:
                block = self._bytes.read_at(offset, _BLOCK_BYTES)
                if not block:  # the file has just been truncated
                    return
                lines = block.split(b"\n", count - passed)
                passed += len(lines) - 1
                offset += len(block) - (len(lines[-1]) if passed == count else 0)
            yield offset

    def read(self, first_row: int, row_count: int) -> CsvChunk:
        """As CsvFile.read, but only for complete rows, and ``at_end`` is never true."""
        self._lines.go_on()
        chunk = super().read(first_row, row_count)
        chunk.at_end = False
        return chunk

    def fate(self) -> Fate:
        """The state of the file."""
        return self._bytes.fate(self._head)

    def count_rows(self) -> int:
        """The number of all rows once the file is finished; the last may lack its line feed."""
        self.rows_ready()
        self._bytes.take_all()
        if self._bytes.size > self._counted_to:
            self._counted_to = self._bytes.size
            self._counted += 1
        return self._counted * self.rows_per_line


def check_followed(path: Path) -> None:
    """Raise UsageError if no file that grows can have the name. The file need not exist yet."""
    if str(path) == "-" or path.is_dir():
        raise UsageError(f"--follow: {path} is not a file: name the files that grow")
    if not path.parent.is_dir():
        raise UsageError(f"--follow: {path.parent} is not a directory; check the path")


def open_growing(path: Path, options: CsvOptions = AS_IN_FILE) -> GrowingCsv | None:
    """Open a file to follow it; None if it does not exist or has no complete row yet.

    Raises SourceError if it can never be followed.
    """
    if not path.exists():
        return None
    bytes_ = GrowingBytes.open(path)
    if _head_size(bytes_) is None:
        bytes_.close()
        return None
    stream = open_bytes(path, bytes_.fileno())
    stream.close()
    if not isinstance(stream, PlainBytes):
        raise SourceError(f"{path}: is compressed; only a plain CSV can be followed")
    return GrowingCsv(bytes_, options)


def _head_size(bytes_: PlainBytes) -> int | None:
    """The end of the second line; None if it has no end yet, or is far too long."""
    text = bytes_.read_at(0, HEADER_LIMIT + LINE_LIMIT)
    header = text.find(b"\n")
    first = text.find(b"\n", header + 1) if header >= 0 else -1
    return first + 1 if first >= 0 else None


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\n".join(parts), digest_size=16).hexdigest()
