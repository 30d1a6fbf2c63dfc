"""Files that were joined: each line is read by the last header above it.

A header is a line with ``timestamp`` or ``metric_name`` as a field, and with neither a time nor a
number. No line that can be read is one, so a piece whose lines can all be read is not searched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from gputel.errors import SourceError
from gputel.sources.dcgm.chunk import EMPTY
from gputel.sources.dcgm.classify import Malformed, check_number, parse_time
from gputel.sources.dcgm.header import is_spaced, titles_of
from gputel.sources.dcgm.lines import Piece
from gputel.sources.dcgm.piece import ParsedPiece, Problems

_MARKS = {"timestamp", "metric_name"}
_LINES_AT_ONCE = 4096
_PARSERS_KEPT = 16
_HEADER = Path("the header")
_SPLIT = (
    "; its lines are rejected, up to the next header: split the file there and ingest the parts"
)

Clock = Callable[[bytes], str | None]
"""Takes one line after the other. Why the time of the line cannot be known, or None."""


class Parser(Protocol):
    """Parses the lines below one header. A line has ``rows_per_line`` rows."""

    @property
    def rows_per_line(self) -> int:
        """At least 1."""
        ...

    def parse_whole(self, piece: Piece) -> ParsedPiece | None:
        """All lines of a piece; None if some cannot be read, or if that is not quick."""
        ...

    def parse_parts(self, piece: Piece) -> Iterator[ParsedPiece]:
        """All lines of a piece, of which some may be rejected. The header again is skipped."""
        ...

    def clock(self) -> Clock | None:
        """A new check of the times of lines; None if they may be in any order."""
        ...

    def title(self, row: int, column: str | None) -> str | None:
        """The title of the faulty column of a row of a piece; ``column`` is gputel's name."""
        ...


class JoinedParser:
    """Parses pieces of one file, each behind the last one; pieces may come again.

    ``parser_of`` makes the parser of the lines below a header, from it and its place. If it raises
    SourceError, they are rejected up to the next header.
    """

    def __init__(
        self, header: bytes, path: Path, parser_of: Callable[[bytes, Path], Parser]
    ) -> None:
        """``header`` is the first line. Raises SourceError if it cannot be used."""
        self._parser_of = parser_of
        self._current = parser_of(header, path)
        self._clock = self._current.clock()
        self._has_clock = self._clock is not None
        self._made: dict[object, Parser] = {_key(header, titles_of(header, _HEADER)): self._current}
        self._starts = [0]  # the first lines of sections, each of which has one parser
        self._parsers = [self._current]
        self._known_to = 0  # the line before which all sections are known
        self.rows_per_line = self._current.rows_per_line

    def parse(self, piece: Piece) -> Iterator[tuple[Parser, ParsedPiece]]:
        """Parse every line. With each part comes the parser that knows its titles."""
        last = self._parsers[-1]
        fresh = piece.first_line == self._known_to
        whole = last.parse_whole(piece) if fresh else None
        if whole is not None:
            self._known_to = piece.end_line
            yield last, whole
            return
        self.pass_over(piece)
        for parser, part in self._sections(piece):
            whole = None if fresh else parser.parse_whole(part)
            for parsed in parser.parse_parts(part) if whole is None else (whole,):
                yield parser, parsed

    def pass_over(self, piece: Piece) -> None:
        """Find the sections of a piece, which need not be parsed."""
        assert piece.first_line <= self._known_to
        if piece.end_line <= self._known_to:
            return
        if not piece.problem:
            self._look(piece.between(self._known_to, piece.end_line))
        self._known_to = piece.end_line

    def _sections(self, piece: Piece) -> Iterator[tuple[Parser, Piece]]:
        """The parts of a piece, each of one section."""
        first = piece.first_line
        number = bisect_right(self._starts, first) - 1
        for parser, stop in zip(
            self._parsers[number:], [*self._starts[number + 1 :], piece.end_line], strict=True
        ):
            if first < piece.end_line:
                yield parser, piece.between(first, min(stop, piece.end_line))
            first = stop

    def _look(self, piece: Piece) -> None:
        headers = headers_in(piece)
        for index in range(len(piece.ends)) if self._has_clock else headers:
            line, number = piece.line(index), piece.first_line + index
            if index in headers:
                self._begin(number, line, headers[index])
            elif self._clock:
                self._check_time(number, self._clock(line))

    def _begin(self, number: int, header: bytes, titles: list[str]) -> None:
        """Begin a section, unless the header is that of the section before it."""
        self._current = self._parser(number, header, titles)
        self._clock = self._current.clock()
        self._go_on(number, self._current)

    def _parser(self, number: int, header: bytes, titles: list[str]) -> Parser:
        key, place = _key(header, titles), Path(f"the header in line {number + 2}")
        if key in self._made:
            return self._made[key]
        try:
            parser = self._parser_of(header, place)
        except SourceError as error:
            return Rejecting(self.rows_per_line, error.message + _SPLIT)
        if len(self._made) >= _PARSERS_KEPT:
            self._made.clear()
        self._made[key] = parser
        return parser

    def _check_time(self, number: int, problem: str | None) -> None:
        if problem is None:
            self._go_on(number, self._current)
        elif self._parsers[-1] is self._current:
            self._go_on(number, Rejecting(self.rows_per_line, problem))

    def _go_on(self, number: int, parser: Parser) -> None:
        """Let a parser have the lines from one on."""
        if parser is not self._parsers[-1]:
            self._starts.append(number)
            self._parsers.append(parser)


class Rejecting:
    """Rejects every line but blank ones. See Parser."""

    def __init__(self, rows_per_line: int, reason: str) -> None:
        self.rows_per_line = rows_per_line
        self._problem = Malformed(reason)

    def parse_whole(self, _piece: Piece) -> None:
        """See Parser."""

    def parse_parts(self, piece: Piece) -> Iterator[ParsedPiece]:
        """See Parser."""
        problems: Problems = [
            (index * self.rows_per_line, self._problem)
            for index in range(len(piece.ends))
            if piece.line(index).strip()
        ]
        yield ParsedPiece(piece, EMPTY, problems, np.empty(0, np.int64))

    def clock(self) -> None:
        """See Parser."""

    def title(self, _row: int, _column: str | None) -> None:
        """See Parser."""


def headers_in(piece: Piece) -> dict[int, list[str]]:
    """The titles of the lines that are headers, by their index in the piece, in order."""
    found = {}
    for part in piece.split(_LINES_AT_ONCE):
        for index in _candidates(part):
            titles = _titles(part.line(index))
            if titles:
                found[part.first_line - piece.first_line + index] = titles
    return found


def _candidates(piece: Piece) -> list[int]:
    """The lines with the text of a mark."""
    text = bytes(piece.data).lower()
    found = set()
    for mark in _MARKS:
        place = text.find(mark.encode())
        while place >= 0:
            index = int(np.searchsorted(piece.ends, piece.start + place, "right"))
            found.add(index)
            place = text.find(mark.encode(), int(piece.ends[index]) - piece.start)
    return sorted(found)


def _titles(line: bytes) -> list[str]:
    """The fields of a line if it is a header, else none."""
    with suppress(SourceError):
        titles = titles_of(line, _HEADER)
        if not _MARKS.isdisjoint(map(str.casefold, titles)) and not any(map(_is_reading, titles)):
            return titles
    return []


def _is_reading(text: str) -> bool:
    """Whether a text is a time or a number."""
    for check in (parse_time, check_number):
        with suppress(Malformed):
            check(text)
            return True
    return False


def _key(header: bytes, titles: list[str]) -> object:
    """What tells headers apart that are read in different ways."""
    return is_spaced(header), *titles
