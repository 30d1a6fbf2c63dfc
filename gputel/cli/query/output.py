"""Write the API's answers to standard output as they come, byte for byte."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from gputel.cli.query import safe_csv
from gputel.cli.query.options import BINARY
from gputel.cli.terminal import terminal_bytes
from gputel.errors import UsageError

SHORT_BYTES = 1 << 14
"""An answer of at least this many bytes has records."""


def chosen(format_: str | None, terminal: bool | None = None) -> str:
    """The format of --format; by default a table on a terminal and JSON elsewhere.

    ``terminal`` says whether the answer goes to a terminal; by default, whether standard output is
    one. Raises UsageError for a format that a terminal cannot show.
    """
    terminal = sys.stdout.isatty() if terminal is None else terminal
    if format_ in BINARY and terminal:
        raise UsageError(
            f"--format {format_}: a terminal cannot show it: redirect it to a file, or use "
            f"`gputel query export FILE.{format_}`"
        )
    return format_ or ("table" if terminal else "json")


def copy(pieces: Iterable[bytes], out: BinaryIO, format_: str) -> None:
    """Write the pieces as they come; a text gets a newline at its end if it has none."""
    last = b"\n"
    if format_ == "csv" and safe_csv.is_requested():
        pieces = safe_csv.safe_pieces(pieces)
    for piece in terminal_bytes(pieces, out, format_):
        out.write(piece)
        last = piece[-1:] or last
    if last != b"\n" and format_ not in BINARY:
        out.write(b"\n")
    out.flush()


def head(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """The beginning of an answer, and whether it is the complete answer."""
    body = b""
    for piece in pieces:
        body += piece
        if len(body) > SHORT_BYTES:
            return body, False
    return body, True


def may_be_empty(body: bytes, format_: str) -> bool:
    """Whether a complete short answer may have no records, as any in a binary format may."""
    if format_ in ("json", "ndjson"):
        return body.strip() in (b"", b"[]")
    return format_ in BINARY or body.count(b"\n") <= 1
