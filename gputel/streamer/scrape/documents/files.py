"""Small files that may change while gputel runs."""

from __future__ import annotations

import stat
from pathlib import Path

from gputel.units import size


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a plain file. Raises ValueError, which says why it cannot be used."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("is not a plain file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if len(data) > limit:
        raise ValueError(f"is over {size(limit)}, which is too large")
    return data
