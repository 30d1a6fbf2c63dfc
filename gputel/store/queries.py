"""Named SQL: statements live in ``store/sql/*.sql``, each under a ``-- name:`` line.

Marks in them, written as comments, stand for the columns of the table in ``model/names.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from gputel.model.entities import ENTITY_UUID, TARGET_PREFIX
from gputel.model.names import GPU_COLUMNS, LABELS, SERIES_LABELS, UUID

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_GPU_LABELS = [column.name for column in GPU_COLUMNS]


def _bytes(labels: Sequence[str]) -> str:
    return " + ".join(f"octet_length(s.{name})" for name in labels)


def _jsonb(series: str) -> str:
    names = [name for name in _GPU_LABELS if name != UUID]
    pairs = ", ".join(f"'{name}', nullif({series}.{name}, '')" for name in names)
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"


_MARKS = {
    "/* pattern of entities */": ENTITY_UUID,
    "/* prefix of targets */": TARGET_PREFIX,
    "/* labels */": ", ".join(SERIES_LABELS),
    "/* s.labels */": ", ".join(f"s.{name}" for name in SERIES_LABELS),
    "/* bytes of s.labels */": _bytes(SERIES_LABELS),
    "/* labels of a record */": ", ".join(LABELS),
    "/* arrays of labels from $2 */": ", ".join(
        f"${number}::text[]" for number in range(2, 2 + len(LABELS))
    ),
    "/* labels of a GPU */": ", ".join(_GPU_LABELS),
    "/* s.labels of a GPU as jsonb */": _jsonb("s"),
    "/* fullest.labels of a GPU as jsonb */": _jsonb("fullest"),
    "/* labels of the newest series, or of its GPU */": ", ".join(
        f"coalesce(nullif(newest.{name}, ''), g.labels ->> '{name}', '') AS {name}"
        if name in _GPU_LABELS
        else f"newest.{name}"
        for name in SERIES_LABELS
    ),
    "/* s.labels of a GPU */": ", ".join(f"s.{name}" for name in _GPU_LABELS),
    "/* bytes of s.labels of a GPU */": _bytes(_GPU_LABELS),
}


@cache
def load(file: str) -> dict[str, str]:
    """The statements of ``store/sql/<file>.sql`` by name."""
    text = (files("gputel.store") / "sql" / f"{file}.sql").read_text("utf-8")
    for mark, columns in _MARKS.items():
        text = text.replace(mark, columns)
    pieces = _NAME.split(text)
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}
