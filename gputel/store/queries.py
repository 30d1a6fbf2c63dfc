"""Named SQL: statements live in ``store/sql/*.sql``, each under a ``-- name:`` line."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def load(file: str) -> dict[str, str]:
    """The statements of ``store/sql/<file>.sql`` by name."""
    text = (files("gputel.store") / "sql" / f"{file}.sql").read_text("utf-8")
    pieces = _NAME.split(text)
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}
