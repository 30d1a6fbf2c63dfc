"""Checks lines one by one: which are well formed, and what is wrong with the others.

The rules are those of ``parse``, written out: both accept a line or neither does. Quoting follows
RFC 4180 within one line: a quote opens a field, closes it, or is doubled within it. Text between a
closing quote and the comma belongs to the field, as in Python's csv module.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gputel.errors import SourceError
from gputel.model.columns import TIMESTAMP, VALUE
from gputel.sources.dcgm.header import Layout, titles_of
from gputel.sources.dcgm.lines import Piece
from gputel.sources.dcgm.times import short, unix_us

_FIELD = re.compile(r'"[^"]*+(?:""[^"]*+)*+"[^",]*+|[^",]*+')
_COLUMNS_AT_ONCE = 100
_NUMBER = re.compile(
    r"[ \t]*+[+-]?(?:[0-9]++\.?[0-9]*+(?:[eE][+-]?[0-9]++)?|\.[0-9]++(?:[eE][+-]?[0-9]++)?"
    r"|inf|infinity|nan(?:\([0-9A-Za-z_]*\))?)[ \t]*+",
    re.IGNORECASE,
)

_CUT_OFF = "the file looks cut off in this line: "


class Malformed(Exception):
    """What is wrong with a line, and the column (gputel's name) if the fault is in one."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.column = reason, column


@dataclass
class Sorted:
    """The well-formed lines of a piece (index, text and timestamp), and the malformed ones."""

    indices: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    malformed: list[tuple[int, Malformed]] = field(default_factory=list)


def sort_lines(piece: Piece, layout: Layout, no_time_us: int | None = None) -> Sorted:
    """Separate the well-formed lines of a piece from the malformed ones.

    Blank lines, and the header once more, are skipped. A line without a time gets ``no_time_us``.
    If that is None, the line is malformed.
    """
    result = Sorted()
    known_times: dict[str, int] = {} if no_time_us is None else {"": no_time_us}
    *lines_with_end, rest = bytes(piece.data).split(b"\n")
    for index, line in enumerate([*lines_with_end, rest] if rest else lines_with_end):
        line = line.removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            time_us = check_line(line, layout, known_times)
        except Malformed as found:
            if _is_header(line, layout):
                continue
            cut_off = _CUT_OFF if index == len(lines_with_end) else ""
            result.malformed.append((index, Malformed(cut_off + found.reason, found.column)))
        else:
            result.indices.append(index)
            result.lines.append(line)
            result.times_us.append(time_us)
    return result


def _is_header(line: bytes, layout: Layout) -> bool:
    """Whether a line is the header once more, as where files were joined."""
    if not layout.header or layout.titles[VALUE].encode() not in line:
        return False
    with suppress(SourceError):
        return titles_of(line, Path()) == [*layout.header]
    return False


def check_line(line: bytes, layout: Layout, known_times: dict[str, int]) -> int:
    """The timestamp of one line without its line end, in microseconds; raises Malformed."""
    if b"\0" in line:
        raise Malformed("NUL character")
    if b"\r" in line:
        raise Malformed("carriage return within the line")
    text = line.decode("utf-8", "surrogateescape")
    fields = _split(text, layout)
    if len(fields) != layout.width:
        raise Malformed(f"wrong number of fields: found {len(fields)}, expected {layout.width}")
    if not _is_utf8(line):
        _check_utf8(fields, layout)
    time_number = layout.places.get(TIMESTAMP)
    time_text = "" if time_number is None else _unquote(fields[time_number])
    if time_text not in known_times:
        known_times[time_text] = parse_time(time_text)
    value_text = _unquote(fields[layout.places[VALUE]])
    if value_text:
        check_number(value_text)
    return known_times[time_text]


def parse_time(text: str) -> int:
    """A timestamp in microseconds since 1970 UTC, rounded down; raises Malformed."""
    if not text.strip():
        raise Malformed("timestamp is blank", TIMESTAMP)
    try:
        return unix_us(text)
    except ValueError as error:
        raise Malformed(f"timestamp {error}", TIMESTAMP) from None


def _split(text: str, layout: Layout) -> list[str]:
    """The fields of a line as written, with their quotes; raises Malformed."""
    if '"' not in text:
        return text.split(",")
    if layout.width <= _COLUMNS_AT_ONCE:
        match = _line_of(layout.width).fullmatch(text)
        if match:
            return list(match.groups())
    return _split_slowly(text, layout)


@cache
def _line_of(width: int) -> re.Pattern[str]:
    return re.compile(",".join([f"({_FIELD.pattern})"] * width))


def _split_slowly(text: str, layout: Layout) -> list[str]:
    fields: list[str] = []
    position = 0
    while True:
        match = _FIELD.match(text, position)
        assert match is not None  # it matches the empty string
        end = match.end()
        if end < len(text) and text[end] != ",":
            name = layout.names[len(fields)] if len(fields) < layout.width else None
            raise Malformed("unclosed quote" if end == position else "stray quote", name)
        fields.append(match.group())
        if end == len(text):
            return fields
        position = end + 1


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    inner, _, rest = text[1:].rpartition('"')
    return inner.replace('""', '"') + rest


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_utf8(fields: list[str], layout: Layout) -> None:
    for name, number in layout.places.items():
        try:
            fields[number].encode()
        except UnicodeEncodeError:
            raise Malformed("text is not UTF-8", name) from None


def parse_number(text: str) -> float:
    """The number that a text is, as Arrow reads it; raises Malformed."""
    check_number(text)
    return float(text.partition("(")[0])  # "nan(7)" is a number of C's


def check_number(text: str) -> None:
    """Raise Malformed if a text is no number."""
    if not text.strip():
        raise Malformed("value is blank", VALUE)
    if not _NUMBER.fullmatch(text):
        raise Malformed(f"value is not a number: {short(text)}", VALUE)


def isolate(suspects: list[int], refused: Callable[[list[int]], bool]) -> list[int]:
    """The suspects that are refused; halves the list until each is found."""
    if not suspects or not refused(suspects):
        return []
    if len(suspects) == 1:
        return suspects
    half = len(suspects) // 2
    return isolate(suspects[:half], refused) + isolate(suspects[half:], refused)
