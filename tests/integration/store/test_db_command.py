from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gputel.store.embedded import embedded_postgres
from tests.postgres_processes import fetchval

COMMAND = """
import sys
from gputel.cli.db import db
from gputel.errors import GputelError
try:
    db()
except GputelError as error:
    sys.exit(f"{type(error).__name__} {error.exit_code}: {error.message}")
"""


def gputel_db(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("GPUTEL_")}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        capture_output=True,
        text=True,
        env=clean | environment,
    )


async def test_url_is_the_dsn_of_the_server_that_runs(made_dir: Path) -> None:
    async with embedded_postgres(made_dir) as dsn:
        assert gputel_db("url", "--data-dir", str(made_dir)).stdout == dsn + "\n"


def test_url_is_the_dsn_that_was_set(made_dir: Path) -> None:
    assert gputel_db("url", GPUTEL_POSTGRES_DSN="postgresql://a:b@c/d").stdout == (
        "postgresql://a:b@c/d\n"
    )


def test_url_says_when_no_server_runs(made_dir: Path) -> None:
    answer = gputel_db("url", "--data-dir", str(made_dir))
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert f"StoreError 1: no gputel runs its embedded Postgres in {made_dir}" in answer.stderr


async def test_migrate_applies_what_is_missing_and_says_what(empty_dsn: str) -> None:
    assert "applied 0001_schema\n" in gputel_db("migrate", "--postgres-dsn", empty_dsn).stdout
    again = gputel_db("migrate", "--postgres-dsn", empty_dsn)
    assert (again.stdout, again.returncode) == ("the schema is up to date\n", 0)
    assert await fetchval(empty_dsn, "SELECT count(*) FROM telemetry") == 0


@pytest.mark.parametrize("words", [("--help",), ("url", "--help"), ("migrate", "--help")])
def test_help_is_printed(words: tuple[str, ...]) -> None:
    assert gputel_db(*words).stdout.startswith("Usage:")
