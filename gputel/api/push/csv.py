"""Records in CSV in the form of DCGM, parsed in the same way as by ``gputel ingest``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gputel.api.push.records import REQUIRED, Int64, ParsedPush, RejectedRecord, too_many
from gputel.errors import BadRequest, SourceError
from gputel.model.names import FIELDS
from gputel.sources.dcgm.chunk import concatenate
from gputel.sources.dcgm.header import HEADER_LIMIT, Layout, parse_header
from gputel.sources.dcgm.joined import JoinedParser
from gputel.sources.dcgm.lines import Piece, places_of
from gputel.sources.dcgm.piece import ParsedPiece, PieceParser

_LF = 10


def parse_csv(body: bytes, most: int, now_us: int) -> ParsedPush:
    """The lines below a header. A record without a time gets the time ``now_us``.

    Blank lines are ignored, but counted in the indices. Raises BadRequest if the header is wrong,
    PayloadTooLarge if there are more than ``most`` lines.
    """
    start = body.find(b"\n") + 1 or len(body)
    parser = _parser(body[:start].removesuffix(b"\n"), now_us)
    buffer = bytearray(body)
    ends: Int64 = places_of(_LF, np.frombuffer(buffer, np.uint8)[start:]) + (start + 1)
    if (int(ends[-1]) if len(ends) else start) < len(buffer):
        ends = np.append(ends, len(buffer))
    if len(ends) > most:
        raise too_many(most)
    if not len(ends):
        return ParsedPush(concatenate([]), np.empty(0, np.int64), [])
    parsed = [part for _, part in parser.parse(Piece(0, buffer, start, ends))]
    return ParsedPush(
        concatenate([part.batch for part in parsed]),
        np.concatenate([_indices(part) for part in parsed]),
        [
            RejectedRecord(part.piece.first_line + index, problem.reason)
            for part in parsed
            for index, problem in part.problems
        ],
    )


def _parser(header: bytes, now_us: int) -> JoinedParser:
    if len(header) > HEADER_LIMIT:
        raise BadRequest(f"the body: its first line is over {HEADER_LIMIT} bytes; is it a CSV?")

    def parser_of(line: bytes, place: Path) -> PieceParser:
        layout = parse_header(line, place, REQUIRED)
        _refuse_unknown(layout, place)
        return PieceParser(layout, now_us, keep_impossible=True)  # the check knows the setting

    try:
        return JoinedParser(header, Path("the body"), parser_of)
    except SourceError as error:
        raise BadRequest(error.message) from None


def _refuse_unknown(layout: Layout, place: Path) -> None:
    if layout.ignores:
        unknown = [
            layout.header[at] for at in range(layout.width) if at not in layout.places.values()
        ]
        raise SourceError(
            f"{place}: the header has the unknown column {unknown[0][:100]!r}; "
            f"a record has {', '.join(FIELDS)}"
        )


def _indices(part: ParsedPiece) -> Int64:
    """The line numbers of the rows of the batch."""
    return part.row_lines + part.piece.first_line
