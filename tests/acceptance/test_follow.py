"""``gputel ingest --follow``: a file that grows, is rotated, and whose reader is killed."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.conftest import Ingest
from tests.helpers.captures import numbers, write_numbered
from tests.helpers.processes import Gputel, Processes
from tests.helpers.waiting import eventually

SHORT_LEASE = ("--chunk-lease-s", "1", "--visibility-timeout-s", "1")


class Log:
    """A file that a program writes lines to, some of them in two steps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = write_numbered(path.with_suffix(".all"), 20_000).read_bytes()
        self.header, *self._lines = content.splitlines(keepends=True)
        self._next: Iterator[bytes] = iter(self._lines)
        self.written = 0

    def begin(self) -> None:
        """A new file of this name, with a header."""
        self.path.write_bytes(self.header)

    def write(self, rows: int) -> None:
        """Append rows, the last of them not whole at first."""
        lines = [next(self._next) for _ in range(rows)]
        self.written += rows
        for part in (b"".join(lines)[:-7], lines[-1][-7:]):
            with self.path.open("ab") as file:
                file.write(part)

    def rotate(self) -> None:
        """Give the file another name, and begin a new one."""
        self.path.rename(self.path.with_suffix(f".{self.written}"))
        self.begin()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "grows.csv")


@pytest.fixture
def follow(processes: Processes, dsn: str, log: Log):
    def start(*arguments: str) -> Gputel:
        command: tuple[str | Path, ...] = ("ingest", "--follow", log.path, *SHORT_LEASE, *arguments)
        return processes.start(*command, GPUTEL_POSTGRES_DSN=dsn)

    return start


async def landed(pool: asyncpg.Pool, rows: int) -> None:
    async def all_there() -> bool:
        return await pool.fetchval("SELECT count(*) FROM telemetry") >= rows

    await eventually(all_there)
    assert await numbers(pool) == Counter(range(rows))


async def test_rows_land_as_the_file_grows_and_is_rotated(follow, log: Log, pool) -> None:
    following = follow()
    await following.says(f"waiting for rows in {log.path}")
    log.begin()
    for _ in range(3):
        log.write(100)
        await landed(pool, log.written)
    log.write(50)
    log.rotate()
    log.write(60)
    await landed(pool, log.written)
    log.rotate()
    log.write(5)
    await landed(pool, log.written)
    assert await following.stop(signal.SIGINT) == 0
    assert following.out.count("rows landed") == 3
    *_, last = following.out.splitlines()
    assert last == "  following was stopped: run it again to go on where it stood"
    assert "before the end" not in following.out


async def test_following_goes_on_where_an_ingest_of_the_file_ended(
    follow, ingest: Ingest, log: Log, pool
) -> None:
    log.begin()
    log.write(300)
    assert (await ingest(log.path)).process.returncode == 0
    log.write(20)
    following = follow("--format", "json")
    await landed(pool, log.written)
    assert await following.stop() == 0
    report = json.loads(following.out)
    assert (report["rows_read"], report["rows_landed"], report["duplicates_dropped"]) == (
        20,
        20,
        300,
    )
    again = json.loads((await ingest(log.path, "--format", "json")).out)
    assert (again["rows_read"], again["rows_landed"], again["rows_already_there"]) == (320, 0, 320)
    assert await numbers(pool) == Counter(range(320))


async def test_nothing_is_lost_or_doubled_when_it_is_killed_again_and_again(
    follow, log: Log, pool
) -> None:
    log.begin()
    for _ in range(4):
        log.write(300)
        following = follow("--chunk-rows", "40")

        async def some() -> bool:
            return await pool.fetchval("SELECT count(*) FROM stream_lease") > 0

        log.write(700)
        await eventually(some)
        following.kill()
    following = follow()
    log.write(3)
    await landed(pool, log.written)
    assert await following.stop() == 0


async def test_two_that_follow_one_file_share_its_rows(follow, log: Log, pool) -> None:
    log.begin()
    both = [follow(), follow()]
    for _ in range(10):
        log.write(100)
        await landed(pool, log.written)
    log.rotate()
    log.write(10)
    await landed(pool, log.written)
    for following in both:
        assert await following.stop() == 0


async def test_truncated_file_is_read_from_its_new_start(follow, log: Log, pool) -> None:
    log.begin()
    log.write(100)
    following = follow()
    await landed(pool, log.written)
    log.begin()  # in place: the same inode
    log.write(40)
    await landed(pool, log.written)
    assert "was truncated: rows that were not read are lost" in following.err
    assert await following.stop() == 0


@pytest.mark.parametrize("given", ["-", "."])
async def test_what_cannot_be_followed_is_told(processes: Processes, given: str) -> None:
    ended = await processes.run("ingest", "--follow", given)
    assert ended.process.returncode == 2
    assert ended.err.startswith("gputel: --follow: ")
