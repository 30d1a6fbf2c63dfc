"""Open a CSV and read its header: that is cheap, and enough to refuse a wrong file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gputel.errors import SourceError
from gputel.sources.bytes.open import open_bytes
from gputel.sources.bytes.stream import ByteStream
from gputel.sources.dcgm.header import Layout, first_line, parse_header, titles_of
from gputel.sources.dcgm.joined import JoinedParser, Parser
from gputel.sources.dcgm.piece import PieceParser
from gputel.sources.nvidia_smi.header import SmiLayout, read_smi_header
from gputel.sources.nvidia_smi.parser import SmiParser
from gputel.sources.nvidia_smi.table import HOST


@dataclass(frozen=True)
class CsvOptions:
    """How a file is read.

    ``timestamps`` is ``source`` for the file's own (without a zone they count as UTC), or
    ``processing`` for the time of the read; both accept the same rows. ``keep_impossible`` accepts
    values that their field cannot have. ``host`` is that of the GPUs in a file of nvidia-smi that
    does not name it.
    """

    timestamps: str = "source"
    keep_impossible: bool = False
    host: str = ""


AS_IN_FILE = CsvOptions()


@dataclass(frozen=True)
class OpenCsv:
    """A file that is open, its header and columns, and the offset of its first row."""

    path: Path
    stream: ByteStream
    header: bytes
    layout: Layout | SmiLayout
    data_offset: int

    @classmethod
    def of(cls, path: Path, stream: ByteStream) -> OpenCsv:
        """Read the header from the start of a stream; raises SourceError."""
        line, data_offset = first_line(stream, path)
        return cls(path, stream, line, read_layout(line, path), data_offset)

    def parser(self, options: CsvOptions) -> JoinedParser:
        """The parser of its lines."""
        first, keep_impossible = self.layout, options.keep_impossible

        def parser_of(header: bytes, place: Path) -> Parser:
            layout = read_layout(header, place)
            if isinstance(layout, Layout) and isinstance(first, Layout):
                return PieceParser(layout, keep_impossible=keep_impossible)
            if isinstance(layout, Layout) or isinstance(first, Layout):
                raise SourceError(
                    f"{place}: it is one of {_kind(layout)}, and the first one of {_kind(first)}"
                )
            rows, most = len(layout.values), len(first.values)
            if rows > most:
                raise SourceError(
                    f"{place}: it has {rows} columns of numbers, and the first one {most}"
                )
            return SmiParser(layout, options.host, most, keep_impossible=keep_impossible)

        return JoinedParser(self.header, self.path, parser_of)

    def notes(self, options: CsvOptions) -> list[str]:
        """What people should know of how the file is read, one sentence each."""
        if not isinstance(self.layout, SmiLayout):
            return []
        notes = ["nvidia-smi's times have no zone and count as UTC: let it run with TZ=UTC"]
        if options.host and HOST not in self.layout.labels:
            notes.append(
                f"its GPUs count as those of host {options.host}: --csv-host names another one"
            )
        if self.layout.left_out:
            notes.append(f"columns without numbers are left out: {', '.join(self.layout.left_out)}")
        return notes


def read_layout(header: bytes, path: Path) -> Layout | SmiLayout:
    """The columns that a header names; raises SourceError."""
    return read_smi_header(titles_of(header, path), path) or parse_header(header, path)


def _kind(layout: Layout | SmiLayout) -> str:
    return "nvidia-smi" if isinstance(layout, SmiLayout) else "DCGM"


def source_name(path: Path) -> str:
    """The name of a file in the store: the absolute path, unless a link there has another name."""
    target = path.resolve()
    return str(path if target.name != path.name else target)


def open_csv(path: Path, descriptor: int | None = None) -> OpenCsv:
    """Open a file and read its header; raises SourceError that names it and says what to do.

    ``descriptor`` is of a file that is open already, and maybe has no name: ``path`` is then only
    its name in errors, and the descriptor stays the caller's.
    """
    stream = open_bytes(path, descriptor)
    try:
        return OpenCsv.of(path, stream)
    except BaseException:
        stream.close()
        raise
