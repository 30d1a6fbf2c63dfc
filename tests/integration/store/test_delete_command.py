"""``gputel db delete`` and ``gputel db streams`` as people run them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from gputel.cli.db.delete_dialog import NOTHING
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from tests.helpers.batches import NOON, steady
from tests.helpers.postgres_processes import fetchval
from tests.integration.store.test_db_command import COMMAND, gputel_db

COUNT = "SELECT count(*) FROM telemetry"


@pytest.fixture
async def captured(pool: asyncpg.Pool) -> None:
    """A stream of 100 samples, a second apart, that has been read to its end."""
    streams = Streams(pool, "capture", "owner")
    await streams.register("content", "/data/capture.csv", looping=False)
    await streams.reserve(100, 60)
    await Writer(pool).land([Arrival("capture/0", Chunk("capture", 0), steady(100))])
    await streams.finish(100)


@pytest.mark.usefixtures("captured")
async def test_streams_are_listed_by_the_names_that_delete_takes(dsn: str) -> None:
    (stream,) = json.loads(gputel_db("streams", "--postgres-dsn", dsn, "--format", "json").stdout)
    assert stream.pop("last_read").endswith("Z")
    assert stream == {
        "stream": "capture", "source": "/data/capture.csv", "loop": False, "rows": 100,
        "row_count": 100, "is_recorded": True, "deleted_samples": 0,
    }  # fmt: skip
    assert "capture" in gputel_db("streams", "--postgres-dsn", dsn).stdout


@pytest.mark.usefixtures("captured")
async def test_a_dry_run_shows_all_and_deletes_nothing(dsn: str) -> None:
    words = ("delete", "--postgres-dsn", dsn, "--start", "2026-03-01T12:00:10Z", "--dry-run")
    answer = gputel_db(*words)
    assert answer.returncode == 0
    assert answer.stdout.split()[:4] == ["samples", "90", "series", "1"]
    found = json.loads(gputel_db(*words, "--format", "json").stdout)
    assert found["deleted"] is None
    assert (found["found"]["samples"], found["found"]["first"]) == (90, "2026-03-01T12:00:10Z")
    assert await fetchval(dsn, COUNT) == 100


@pytest.mark.usefixtures("captured")
async def test_yes_deletes_what_it_shows(dsn: str) -> None:
    words = ("delete", "--postgres-dsn", dsn, "--end", "2026-03-01T12:00:09Z", "--yes")
    answer = gputel_db(*words)
    assert answer.stdout.endswith("\ndeleted 10 samples\n")
    assert answer.stdout.startswith("samples  10")
    assert await fetchval(dsn, "SELECT min(timestamp) FROM telemetry") == NOON + timedelta(
        seconds=10
    )
    assert gputel_db(*words).stdout == NOTHING + "\n"


@pytest.mark.usefixtures("captured")
async def test_a_whole_stream_is_deleted_as_json_for_programs(dsn: str) -> None:
    words = ("delete", "--postgres-dsn", dsn, "--stream", "capture", "--format", "json")
    refused = gputel_db(*words, "--dry-run", "--host", "")
    assert "UsageError 2: --stream, --host, --gpu and --metric must not be empty" in refused.stderr
    answer = json.loads(gputel_db(*words, "--yes").stdout)
    assert answer["deleted"] == {"samples": 100, "rollup_minutes": 0, "series": 1}
    assert "its source can be ingested again" in answer["notes"][0]
    again = gputel_db(*words, "--yes")
    assert "UsageError 2: --stream: there is no stream 'capture'" in again.stderr


@pytest.mark.parametrize(("reply", "left", "exit_code"), [("n", 100, 1), ("y", 0, 0)])
@pytest.mark.usefixtures("captured")
async def test_a_person_is_asked(dsn: str, reply: str, left: int, exit_code: int) -> None:
    keyboard, terminal = pty.openpty()
    with os.fdopen(keyboard, "wb", buffering=0) as keys, os.fdopen(terminal, "rb") as screen:
        keys.write(f"{reply}\n".encode())
        answer = subprocess.run(
            [sys.executable, "-c", COMMAND, "delete", "--postgres-dsn", dsn, "--metric", "TEMP"],
            stdin=screen,
            capture_output=True,
            text=True,
        )
    assert "samples  100" in answer.stdout
    assert "Delete this? [y/N]" in answer.stderr
    assert answer.returncode == exit_code
    assert await fetchval(dsn, COUNT) == left


def test_a_data_directory_without_a_database_is_told_and_not_made(data_dir: Path) -> None:
    for words in (("streams",), ("delete", "--host", "h", "--yes")):
        answer = gputel_db(*words, "--data-dir", str(data_dir))
        assert answer.returncode == 1
        assert f"--data-dir: no gputel database is in {data_dir}" in answer.stderr
    assert not data_dir.exists()
