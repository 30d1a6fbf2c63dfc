"""Blanks around the fields of a file whose header has them, as nvidia-smi writes: ``a, b, c``."""

from __future__ import annotations

import re

import numpy as np

from gputel.sources.dcgm.lines import Piece, places_of

_LF = ord("\n")
_AROUND = re.compile(rb'("[^"\n]*+")|(?<![ \t])[ \t]*+(,|\r?\n)[ \t]*+')


def without_blanks(piece: Piece) -> Piece:
    """The same lines without blanks and tabs at the ends of fields, outside of quotes."""
    buffer = bytearray(_AROUND.sub(rb"\1\2", bytes(piece.data).lstrip(b" \t")))
    ends = places_of(_LF, np.frombuffer(buffer, np.uint8)) + 1
    if len(ends) < len(piece.ends):  # the last line has no line feed
        if not buffer.rstrip(b" \t") or buffer.endswith(b"\n"):
            buffer += b"\n"
        ends = np.append(ends, len(buffer))
    return Piece(piece.first_line, buffer, 0, ends)
