"""The header of a DCGM CSV: the order of its columns.

``timestamp``, ``metric_name``, ``uuid`` and ``value`` are required. Any other missing column is
empty, and unknown columns are ignored. A title matches if it is written as in DCGM, else as in
gputel (``model_name``), else in any case.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gputel.errors import SourceError
from gputel.model.names import COLUMNS, CSV_NAMES
from gputel.printable import shortened
from gputel.sources.bytes.stream import ByteStream

REQUIRED = tuple(column.name for column in COLUMNS if column.required)
BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SHOWN = 300
_SPACED = re.compile(rb"(?:^|,)[ \t]|[ \t](?:,|$)")
HEADER_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Layout:
    """The positions of the columns in a file.

    ``names`` has one entry for each field: gputel's name of the column, or a made-up name if the
    column is ignored. ``places`` has the position of each known column by name, ``titles`` its
    title in the header, and ``header`` has the titles of all fields. ``spaced``: there are blanks
    around the fields, which do not belong to them.
    """

    names: tuple[str, ...]
    places: dict[str, int]
    titles: dict[str, str]
    header: tuple[str, ...] = ()
    spaced: bool = False

    @property
    def width(self) -> int:
        """The number of fields in a line."""
        return len(self.names)

    @property
    def ignores(self) -> bool:
        """Whether the file has unknown columns."""
        return len(self.places) < self.width


def first_line(stream: ByteStream, path: Path) -> tuple[bytes, int]:
    """The first line of a stream, which must be the header, and the offset of the second line.

    Raises SourceError naming the file and what to do.
    """
    buffer = bytearray(HEADER_LIMIT)
    view, filled = memoryview(buffer), 0
    while b"\n" not in buffer[:filled] and filled < HEADER_LIMIT:
        count = stream.read_into(view[filled:])
        if not count:
            break
        filled += count
    if not filled:
        raise SourceError(f"{path}: {stream.damage or 'is empty'}; a CSV starts with a header line")
    line, newline, _ = bytes(buffer[:filled]).partition(b"\n")
    if not newline and filled == HEADER_LIMIT:
        raise SourceError(f"{path}: the first line is over {HEADER_LIMIT} bytes; is it a CSV?")
    return line, len(line) + len(newline)


def parse_header(line: bytes, path: Path, required: Sequence[str] = REQUIRED) -> Layout:
    """Read the first line of a file; raises SourceError naming the file and what to do."""
    text = _decode(line, path)
    titles = _split(text, path)
    places = _match(titles, path)
    missing = [CSV_NAMES[name] for name in required if name not in places]
    if missing:
        raise SourceError(_missing(path, missing, titles))
    names = [f"ignored {number}" for number in range(len(titles))]
    for name, number in places.items():
        names[number] = name
    of_places = {name: titles[at] for name, at in places.items()}
    return Layout(tuple(names), places, of_places, tuple(titles), is_spaced(line))


def titles_of(line: bytes, path: Path) -> list[str]:
    """The fields of a first line; raises SourceError if it is no text or no CSV."""
    return _split(_decode(line, path), path)


def is_spaced(line: bytes) -> bool:
    """Whether a header has blanks around its fields."""
    return bool(_SPACED.search(line.removeprefix(BOM).rstrip(b"\r\n")))


def _decode(line: bytes, path: Path) -> str:
    if line.startswith(_UTF16_BOMS):
        raise SourceError(f"{path}: is UTF-16 text; save it as UTF-8")
    if b"\0" in line:
        raise SourceError(f"{path}: is a binary file, not a CSV")
    try:
        text = line.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        raise SourceError(f"{path}: the header is not UTF-8 text; is it a CSV?") from None
    text = text.rstrip("\r\n")
    if not text.strip():
        raise SourceError(f"{path}: the first line is blank; it must be the header of a DCGM CSV")
    return text


def _split(text: str, path: Path) -> list[str]:
    try:
        titles = next(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise SourceError(f"{path}: the header is not CSV: {error}") from None
    return [title.strip() for title in titles]


def _match(titles: list[str], path: Path) -> dict[str, int]:
    places: dict[str, int] = {}
    rules: tuple[Callable[[str, str], bool], ...] = (
        lambda name, title: title == CSV_NAMES[name],
        lambda name, title: title == name,
        lambda name, title: title.casefold() in (name, CSV_NAMES[name].casefold()),
    )
    for name in CSV_NAMES:
        for rule in rules:
            matches = [number for number, title in enumerate(titles) if rule(name, title)]
            if len(matches) > 1:
                raise SourceError(_duplicate(path, [titles[number] for number in matches]))
            if matches:
                places[name] = matches[0]
                break
    return places


def _duplicate(path: Path, titles: list[str]) -> str:
    (title, count), *others = Counter(titles).items()
    what = f"column {title} {count} times" if not others else f"columns {', '.join(titles)}"
    return f"{path}: the header has {what}; keep one of them"


def _missing(path: Path, missing: list[str], titles: list[str]) -> str:
    header = shortened(", ".join(titles), _SHOWN)
    hint = ""
    if len(titles) == 1 and any(mark in header for mark in ";\t|"):
        hint = "; fields must be separated by commas"
    columns = "column" if len(missing) == 1 else "columns"
    return f"{path}: the header lacks {columns} {', '.join(missing)} (found: {header}){hint}"
