"""A new label is one line in the table of columns; and the schema has all that are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from gputel.model.names import COLUMNS, LABELS
from gputel.model.series import digest

PROGRAM = Path(__file__).with_name("one_more_column.py")


def test_all_parts_take_a_new_column_from_the_table(dsn: str, tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), dsn, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("table", "names"),
    [("series", set(LABELS)), ("telemetry", {column.name for column in COLUMNS})],
)
async def test_the_schema_has_every_column(pool: asyncpg.Pool, table: str, names: set[str]) -> None:
    rows = await pool.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1)", table
    )
    assert names <= {row["attname"] for row in rows}


def test_a_new_label_leaves_the_digests_of_series_without_it() -> None:
    labels = tuple(LABELS)
    assert digest((*labels, "")) == digest(labels) != digest((*labels, "east"))
    assert digest((*labels[:-1], "")) != digest(labels[:-1])
