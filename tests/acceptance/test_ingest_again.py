"""An ingest that was stopped, killed, or doubled: it goes on where it stood, and lands all once."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.conftest import Ingest
from tests.helpers.captures import numbers, write_numbered
from tests.helpers.processes import Gputel, Processes
from tests.helpers.waiting import eventually

ROWS = 20_000
SLOWLY = ("--rate", "4000", "--chunk-rows", "100")
SHORT_LEASE = ("--chunk-lease-s", "1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_numbered(tmp_path / "numbered.csv", ROWS)


@pytest.fixture
async def halfway(processes: Processes, dsn: str, pool: asyncpg.Pool, file: Path) -> Gputel:
    """An ingest that has landed some rows, and has others to go."""
    ended = processes.start(
        *("ingest", file, *SLOWLY, *SHORT_LEASE, "--format", "json"), GPUTEL_POSTGRES_DSN=dsn
    )

    async def some_landed() -> bool:
        assert ended.running, ended.err
        return await pool.fetchval("SELECT count(*) FROM telemetry") > 1000

    await eventually(some_landed)
    return ended


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopped_ingest_says_so_and_the_next_one_lands_the_rest(
    halfway: Gputel, ingest: Ingest, pool: asyncpg.Pool, file: Path, number: signal.Signals
) -> None:
    assert await halfway.stop(number) == 130
    assert halfway.err == ""
    first = json.loads(halfway.out)
    assert not first["complete"]
    assert 1000 < first["rows_landed"] < ROWS
    assert first["rows_landed"] == await pool.fetchval("SELECT count(*) FROM telemetry")
    rest = await ingest(file, *SHORT_LEASE, "--format", "json")
    assert (rest.process.returncode, rest.err) == (0, "")
    second = json.loads(rest.out)
    assert second["duplicates_dropped"] == first["rows_landed"]
    assert second["rows_landed"] == ROWS - first["rows_landed"]
    assert await numbers(pool) == Counter(range(ROWS))


async def test_stopped_ingest_tells_people_how_to_go_on(
    processes: Processes, dsn: str, pool: asyncpg.Pool, file: Path
) -> None:
    ended = processes.start("ingest", file, *SLOWLY, GPUTEL_POSTGRES_DSN=dsn)

    async def begun() -> bool:
        return bool(await pool.fetchval("SELECT next_row FROM stream_progress"))

    await eventually(begun)
    assert await ended.stop(signal.SIGINT) == 130
    assert "stopped before the end: run it again to go on where it stood" in ended.out


async def test_ingest_that_was_killed_is_finished_by_the_next(
    halfway: Gputel, ingest: Ingest, pool: asyncpg.Pool, file: Path
) -> None:
    halfway.kill()
    rest = await ingest(file, *SHORT_LEASE, "--format", "json")
    assert (rest.process.returncode, rest.err) == (0, "")
    assert json.loads(rest.out)["complete"]
    assert await numbers(pool) == Counter(range(ROWS))


async def test_two_ingests_of_a_file_at_once_share_its_rows(
    processes: Processes, dsn: str, pool: asyncpg.Pool, file: Path
) -> None:
    arguments = ("ingest", file, *SLOWLY, "--format", "json")
    both = [processes.start(*arguments, GPUTEL_POSTGRES_DSN=dsn) for _ in range(2)]
    assert [await each.ended() for each in both] == [0, 0]
    assert await numbers(pool) == Counter(range(ROWS))
    reports = [json.loads(each.out) for each in both]
    assert sum(report["rows_read"] for report in reports) == ROWS
    assert sum(report["rows_landed"] for report in reports) == ROWS


async def test_ingest_that_is_stopped_while_it_starts_does_not_claim_success(
    processes: Processes, file: Path
) -> None:
    nobody = "postgresql://nobody@127.0.0.1:1/none"
    ended = processes.start("ingest", file, GPUTEL_POSTGRES_DSN=nobody, GPUTEL_LOG_LEVEL="debug")
    await ended.says("waiting for Postgres")
    assert await ended.stop(signal.SIGINT) == 130
    assert ended.out == ""
    assert ended.err.splitlines()[-1] == "gputel: stopped before anything was read"


async def test_other_content_under_the_name_of_a_stream_is_refused(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    one, other = (write_numbered(tmp_path / f"{rows}.csv", rows) for rows in (10, 20))
    assert (await ingest(one, "--stream-id", "mine")).process.returncode == 0
    ended = await ingest(other, "--stream-id", "mine")
    assert (ended.process.returncode, ended.out) == (1, "")
    assert ended.err == (
        f"gputel: stream 'mine' was fed from {str(one)!r}, and {str(other)!r} has other content: "
        "choose another name with --stream-id\n"
    )
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 10


async def test_deleted_rows_stay_deleted_and_the_report_tells_how_to_land_them_again(
    ingest: Ingest, processes: Processes, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    file = write_numbered(tmp_path / "numbered.csv", 100)
    assert (await ingest(file)).process.returncode == 0
    delete = ("db", "delete", "--host", "host-4", "--yes")
    ended = await processes.run(*delete, GPUTEL_POSTGRES_DSN=dsn)
    assert (ended.process.returncode, ended.err) == (0, "")
    assert "gputel ingest --stream-id NEW-NAME FILE does" in ended.out
    left = 84  # of 100 rows, 16 are of host-4
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == left

    again = await ingest(file)
    assert (again.process.returncode, again.err) == (0, "")
    assert f"{100 - left} of its samples have been deleted since by gputel db delete" in again.out
    assert "to do so, run gputel ingest --stream-id NEW-NAME FILE" in again.out
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == left
    assert json.loads((await ingest(file, "--format", "json")).out)["samples_deleted"] == 100 - left
    run = processes.start("run", "--csv", file, "--role", "streamer", "--broker-url",
                          "http://127.0.0.1:1", GPUTEL_POSTGRES_DSN=dsn)  # fmt: skip
    await run.says("of its samples have been deleted since by gputel db delete")

    anew = json.loads((await ingest(file, "--stream-id", "anew", "--format", "json")).out)
    assert (anew["rows_landed"], anew["rows_already_there"]) == (100 - left, left)
    assert await numbers(pool) == Counter(range(100))
