"""Lines of a byte stream, handed out in pieces of whole lines, in one fixed buffer.

A line ends with a line feed or at the end of the file. Line 0 is the first one below the header.
A line that does not fit the buffer is skipped and reported.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gputel.sources.bytes.stream import ByteStream

LINE_LIMIT = 1024 * 1024
_BUFFER_BYTES = 16 * 1024 * 1024
_SCAN_BYTES = 1024 * 1024
_LF = 10
_KEPT = 1024
_MARKS = 4096
_TOO_LONG = f"line too long: over {LINE_LIMIT} bytes"

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """Complete lines, side by side in ``buffer``; valid until the next piece is read.

    Line i starts where the one before it ends, the first at ``start``; ``ends[i]`` is the offset
    behind its line feed, which only the last line of the file may lack. With ``problem`` set,
    the piece is the start of one line that cannot be used, for that reason.
    """

    first_line: int
    buffer: bytearray
    start: int
    ends: Int64
    problem: str | None = None

    @property
    def stop(self) -> int:
        """The offset in ``buffer`` behind the last line."""
        return int(self.ends[-1])

    @property
    def end_line(self) -> int:
        """The number of the line behind the last one."""
        return self.first_line + len(self.ends)

    @property
    def data(self) -> memoryview:
        """The bytes of all lines, not copied."""
        return memoryview(self.buffer)[self.start : self.stop]

    @property
    def text(self) -> UInt8:
        """The bytes of all lines as numbers, not copied."""
        return np.frombuffer(self.data, np.uint8)

    def line(self, index: int) -> bytes:
        """One line with its line feed."""
        start = int(self.ends[index - 1]) if index else self.start
        return bytes(self.buffer[start : int(self.ends[index])])

    def between(self, first: int, end: int) -> Piece:
        """The lines with the numbers from ``first`` to before ``end``."""
        index = first - self.first_line
        start = int(self.ends[index - 1]) if index else self.start
        return Piece(first, self.buffer, start, self.ends[index : end - self.first_line])

    def split(self, lines: int) -> Iterator[Piece]:
        """The same lines in pieces of at most ``lines``."""
        for first in range(self.first_line, self.end_line, lines):
            yield self.between(first, min(first + lines, self.end_line))


class LineIndex:
    """The offsets of some lines: at most 4096, spread evenly over the part of the file read."""

    def __init__(self, offset: int) -> None:
        self._lines, self._offsets, self._stride = [0], [offset], 1

    def note(self, line: int, offset: int) -> None:
        """Remember the offset of a line if it is far enough behind the last one."""
        if line < self._lines[-1] + self._stride:
            return
        self._lines.append(line)
        self._offsets.append(offset)
        if len(self._lines) >= _MARKS:
            del self._lines[1::2], self._offsets[1::2]
            self._stride = max(1, self._lines[-1] * 2 // _MARKS)

    def before(self, line: int) -> tuple[int, int]:
        """The last known (line, offset) at or before a line."""
        place = bisect_right(self._lines, line) - 1
        return self._lines[place], self._offsets[place]


class LineReader:
    """Reads lines in order; ``next_line`` is the number of the one that comes next."""

    def __init__(self, stream: ByteStream, data_offset: int) -> None:
        self._stream = stream
        self._index = LineIndex(data_offset)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._bytes = np.frombuffer(self._buffer, np.uint8)
        self._go_to(0, data_offset)

    def _go_to(self, line: int, offset: int) -> None:
        self._stream.seek(offset)
        self.next_line = line
        self._offset = offset  # in the stream, of the buffer's first byte
        self._start = self._end = 0
        self._ends: Int64 = np.empty(0, np.int64)  # behind each line feed from _start on
        self._exhausted = self._damage_told = False

    @property
    def at_end(self) -> bool:
        """Whether no line is left."""
        self._fill()
        damage = self._stream.damage if self._exhausted and not self._damage_told else None
        return self._start == self._end and not damage

    def go_to_line(self, line: int, passed: Callable[[Piece], object]) -> None:
        """Make ``line`` the next one; if the file has fewer lines, go to its end.

        ``passed`` is called with each piece that is read on the way.
        """
        known, offset = self._index.before(line)
        if line < self.next_line or (self._stream.seekable and known > self.next_line):
            if not self._stream.seekable:
                known, offset = self._index.before(0)
            self._go_to(known, offset)
        while self.next_line < line and (piece := self.next_piece(line - self.next_line)):
            passed(piece)

    def go_on(self) -> None:
        """Continue behind the former end: the file has grown."""
        self._exhausted = False

    def next_piece(self, most: int) -> Piece | None:
        """The next lines, at most ``most`` and what the buffer holds; None at the end."""
        self._fill()
        if len(self._ends):
            return self._take(self._ends[:most])
        if self._end - self._start >= LINE_LIMIT:
            return self._pass_over()
        if self._exhausted and self._stream.damage and not self._damage_told:
            self._damage_told = True
            reason = f"{self._stream.damage}; no row from here on can be read"
            return self._problem(self._end, reason)
        if self._end > self._start:
            return self._take(np.array([self._end], np.int64))
        return None

    def _take(self, ends: Int64) -> Piece:
        too_long = np.flatnonzero(np.diff(ends, prepend=self._start) > LINE_LIMIT)
        if len(too_long):
            if not too_long[0]:
                self._ends = self._ends[1:]
                return self._problem(int(ends[0]), _TOO_LONG)
            ends = ends[: too_long[0]]
        piece = Piece(self.next_line, self._buffer, self._start, ends)
        self._ends = self._ends[len(ends) :]
        self._start = piece.stop
        self.next_line += len(ends)
        return piece

    def _problem(self, end: int, reason: str) -> Piece:
        """Take one line, of which ``end`` is the end in the buffer."""
        kept = self._buffer[self._start : min(end, self._start + _KEPT)]
        self._start = end
        self.next_line += 1
        return Piece(self.next_line - 1, kept, 0, np.array([len(kept)], np.int64), reason)

    def _pass_over(self) -> Piece:
        piece = self._problem(self._end, _TOO_LONG)
        while not len(self._ends) and not self._exhausted:
            self._start = self._end
            self._read_on()
        if len(self._ends):
            self._start = int(self._ends[0])
            self._ends = self._ends[1:]
        else:
            self._start = self._end
            self._damage_told = True
        return piece

    def _fill(self) -> None:
        """Read until the buffer has a complete line, unless none is left or it is too long."""
        if len(self._ends) or self._exhausted or self._end - self._start >= LINE_LIMIT:
            return
        self._index.note(self.next_line, self._offset + self._start)
        self._read_on()

    def _read_on(self) -> None:
        held = self._end - self._start
        self._view[:held] = self._view[self._start : self._end]
        self._offset += self._start
        self._start, self._end = 0, held
        while self._end < _BUFFER_BYTES and not self._exhausted:
            size = self._stream.read_into(self._view[self._end :])
            self._end += size
            self._exhausted = not size
        self._ends = places_of(_LF, self._bytes[held : self._end]) + (held + 1)


def places_of(byte: int, text: UInt8) -> Int64:
    """The positions of a byte in a text, found in steps that fit the processor's cache."""
    positions = [np.empty(0, np.int64)]
    for begin in range(0, len(text), _SCAN_BYTES):
        positions.append(np.flatnonzero(text[begin : begin + _SCAN_BYTES] == byte) + begin)
    return np.concatenate(positions)


def count_lines(stream: ByteStream, data_offset: int) -> int:
    """The number of lines from an offset to the end; the rest after a damage counts as one."""
    stream.seek(data_offset)
    buffer = bytearray(LINE_LIMIT)
    view, bytes_ = memoryview(buffer), np.frombuffer(buffer, np.uint8)
    lines, last = 0, _LF
    while size := stream.read_into(view):
        lines += int(np.count_nonzero(bytes_[:size] == _LF))
        last = int(bytes_[size - 1])
    return lines + (last != _LF or stream.damage is not None)
