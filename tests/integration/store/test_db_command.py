from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from gputel.store.postgres.shared import embedded_postgres
from gputel.store.status import store_status
from tests.helpers.batches import NOON
from tests.helpers.postgres_processes import fetchval
from tests.helpers.telemetry_rows import Labels, add_block, every

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)

COMMAND = """
import sys
from gputel.cli.db.group import db
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


@pytest.mark.parametrize("name", ["url", "status", "maintain"])
def test_data_directory_without_a_database_is_told_and_not_made(name: str, data_dir: Path) -> None:
    answer = gputel_db(name, "--data-dir", str(data_dir))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith(
        f"StoreError 1: --data-dir: no gputel database is in {data_dir}"
    )
    assert answer.stderr.count("\n") == 1
    assert "gputel run" in answer.stderr
    assert "gputel ingest" in answer.stderr
    assert not data_dir.exists()


async def test_migrate_applies_what_is_missing_and_says_what(empty_dsn: str) -> None:
    assert "applied 0001_schema\n" in gputel_db("migrate", "--postgres-dsn", empty_dsn).stdout
    again = gputel_db("migrate", "--postgres-dsn", empty_dsn)
    assert (again.stdout, again.returncode) == ("the schema is up to date\n", 0)
    assert await fetchval(empty_dsn, "SELECT count(*) FROM telemetry") == 0


@pytest.mark.parametrize(
    "words", [("--help",), *((name, "--help") for name in ("url", "migrate", "maintain", "status"))]
)
def test_help_is_printed(words: tuple[str, ...]) -> None:
    assert gputel_db(*words).stdout.startswith("Usage:")


async def test_maintain_does_all_that_is_left_and_says_what(pool: asyncpg.Pool, dsn: str) -> None:
    for minute in range(4):
        await add_block(pool, Labels(), every(NOON + minute * MINUTE, 1, 5), range(5))
    await add_block(pool, Labels(), [NOON - 20 * DAY], [1])
    words = ("maintain", "--postgres-dsn", dsn)
    assert gputel_db(*words).stdout == (
        "merged 4 blocks of 1 day into 1 (20 samples)\nmade the rollups of 2 hours\n"
    )
    assert gputel_db(*words).stdout == "nothing to do\n"
    since = (datetime.now(UTC) - NOON).days + 2
    kept = ("--retention", f"{since}d", "--rollup-retention", "36500d")
    assert gputel_db(*words, *kept).stdout == f"dropped {(NOON - 20 * DAY).date()}\n"
    assert await fetchval(dsn, "SELECT count(*) FROM telemetry") == 20
    assert await fetchval(dsn, "SELECT count(*) FROM rollup_part") == 2
    assert gputel_db(*words, *kept[:2]).stdout == "nothing to do\n"
    assert await fetchval(dsn, "SELECT count(*) FROM rollup_part") == 1


def test_maintain_names_a_wrong_setting(made_dir: Path) -> None:
    answer = gputel_db("maintain", "--retention", "soon", "--data-dir", str(made_dir))
    assert answer.returncode == 1
    assert "ConfigError 2: --retention: 'soon' is not a time span like 30d" in answer.stderr


async def test_status_tells_days_sizes_and_what_is_to_be_done(pool: asyncpg.Pool, dsn: str) -> None:
    for minute in range(4):
        await add_block(pool, Labels(), every(NOON + minute * MINUTE, 1, 5), range(5))
    await add_block(pool, Labels("GPU-b"), [NOON + DAY], [1])
    words = ("status", "--postgres-dsn", dsn, "--retention", "1m")
    found = json.loads(gputel_db(*words, "--format", "json").stdout)
    assert (found["samples"], found["blocks"], found["to_merge"], found["series"]) == (21, 5, 3, 2)
    assert (found["oldest"], found["newest"]) == ("2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z")
    assert not found["estimated"]
    assert (found["stale_hours"], found["rollup_bytes"]) == (2, 0)
    first, second = found["partitions"]
    assert (first["day"], first["samples"], first["to_merge"]) == ("2026-03-01", 20, 3)
    assert (second["day"], second["samples"], second["expired"]) == ("2026-03-02", 1, True)
    sizes = "SELECT sum(pg_total_relation_size(part)) FROM sample_block_part"
    assert sum(found[f"{part}_bytes"] for part in ("heap", "toast", "index")) == (
        await fetchval(dsn, sizes)
    )
    assert abs(datetime.now(UTC) - NOON - DAY - timedelta(seconds=found["lag_s"])) < MINUTE
    table = gputel_db(*words).stdout
    assert "2026-03-01 expired" in table
    assert "2 series in" in table
    assert "rollups take 0 bytes; 2 hours wait for their rollups" in table


async def test_status_of_a_large_partition_is_told_from_a_part_and_says_so(
    pool: asyncpg.Pool,
) -> None:
    await pool.execute("SELECT ensure_sample_block_day($1)", NOON.date())
    await pool.execute(
        "INSERT INTO sample_block SELECT 1, t, t, 0, 1, NULL, '{1}' FROM "
        "generate_series($1::timestamptz, $1::timestamptz + interval '39999 s', '1 s') AS t",
        NOON - timedelta(hours=12),
    )
    exact = await store_status(pool)
    assert [(day.blocks, day.estimated) for day in exact.days] == [(40_000, False)]
    (day,) = (await store_status(pool, most_bytes=2_000_000)).days
    assert day.estimated
    assert day.to_merge is None
    assert 20_000 < day.blocks < 60_000


def test_status_of_an_empty_store(made_dir: Path) -> None:
    found = json.loads(gputel_db("status", "--format", "json", "--data-dir", str(made_dir)).stdout)
    assert (found["samples"], found["newest"], found["partitions"]) == (0, None, [])
