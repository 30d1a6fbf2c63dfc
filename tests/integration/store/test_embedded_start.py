from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from pathlib import Path

import asyncpg
import pytest

from gputel.errors import ConfigError, StoreError
from gputel.store.postgres.binaries import find_binaries
from gputel.store.postgres.cluster import make_socket_dir
from gputel.store.postgres.shared import embedded_postgres, running_dsn
from tests.helpers.postgres_processes import fetchval, lives, postmaster

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


async def test_first_start_makes_the_cluster_and_the_database(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as dsn:
        assert await fetchval(dsn, "SELECT current_database()") == "gputel"
        assert await fetchval(dsn, "SHOW server_encoding") == "UTF8"
        assert await fetchval(dsn, "SELECT datcollate FROM pg_database LIMIT 1") == "C"
    assert not list(data_dir.glob("postgres.new-*"))


async def test_next_start_finds_what_was_committed(made_dir: Path) -> None:
    async with embedded_postgres(made_dir) as dsn:
        await fetchval(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        server = postmaster(made_dir)
    assert not lives(server)
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SELECT answer FROM kept") == 42


async def test_server_listens_on_nothing_but_a_private_socket(made_dir: Path) -> None:
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SHOW listen_addresses") == ""
        socket_dir = Path(str(await fetchval(dsn, "SHOW unix_socket_directories")))
        assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert not socket_dir.exists()


async def test_server_has_the_settings_of_this_gputel(made_dir: Path) -> None:
    async with embedded_postgres(made_dir, overrides={"work_mem": "5MB"}) as dsn:
        assert await fetchval(dsn, "SHOW max_wal_size") == "4GB"
        assert await fetchval(dsn, "SHOW jit") == "off"
        assert await fetchval(dsn, "SHOW fsync") == "on"
        assert await fetchval(dsn, "SHOW max_locks_per_transaction") == "1024"
        assert await fetchval(dsn, "SHOW wal_compression") in ("lz4", "off")
        assert await fetchval(dsn, "SHOW work_mem") == "5MB"


async def test_a_session_takes_no_fresh_pages_for_a_statement_that_needs_what_the_last_one_freed(
    made_dir: Path,
) -> None:
    sample = "SELECT length(array_send(array_agg(i::float8))) FROM generate_series(1, 100000) AS i"
    async with embedded_postgres(made_dir) as dsn:
        connection = await asyncpg.connect(dsn)
        server = Path("/proc") / str(connection.get_server_pid()) / "stat"
        for _ in range(6):  # the plan of a prepared statement is made for good by then
            await connection.fetchval(sample)
        before = faults(server)
        for _ in range(20):
            await connection.fetchval(sample)
        assert faults(server) - before < 20 * 100
        await connection.close()


def faults(stat: Path) -> int:
    """How many pages the kernel had to give: minflt of proc(5)."""
    return int(stat.read_text().rpartition(")")[2].split()[7])


async def test_psql_takes_the_dsn_of_the_running_server(made_dir: Path) -> None:
    psql = find_binaries(None, made_dir / "postgres").bin_dir / "psql"
    async with embedded_postgres(made_dir) as dsn:
        assert running_dsn(made_dir) == dsn
        answer = subprocess.run([psql, "-Atc", "SELECT 6 * 7", dsn], capture_output=True, text=True)
    assert (answer.stdout, answer.stderr) == ("42\n", "")


async def test_dsn_of_a_server_that_does_not_run_is_an_error_that_says_so(made_dir: Path) -> None:
    with pytest.raises(StoreError, match="no gputel runs its embedded Postgres"):
        running_dsn(made_dir)
    with pytest.raises(StoreError, match="no gputel database is in"):
        running_dsn(made_dir / "missing")


async def test_data_directory_may_have_a_long_path(model_dir: Path, open_dir: Path) -> None:
    long_dir = open_dir / ("long-" * 20) / ("path-" * 20)
    long_dir.parent.mkdir()
    subprocess.run(["cp", "-a", model_dir, long_dir], check=True)
    async with embedded_postgres(long_dir) as dsn:
        assert await fetchval(dsn, "SELECT 1") == 1


async def test_data_directory_reached_through_a_link_is_the_same(made_dir: Path) -> None:
    link = made_dir.with_name(made_dir.name + "-link")
    link.symlink_to(made_dir)
    async with embedded_postgres(made_dir) as dsn:
        assert running_dsn(link) == dsn


async def test_half_made_cluster_of_a_killed_process_is_removed(made_dir: Path) -> None:
    (made_dir / "postgres.new-abcd" / "base").mkdir(parents=True)
    async with embedded_postgres(made_dir):
        assert not list(made_dir.glob("postgres.new-*"))


async def test_server_log_is_bounded(made_dir: Path) -> None:
    (made_dir / "postgres.log").write_bytes(b"x" * 9_000_000)
    async with embedded_postgres(made_dir):
        assert (made_dir / "postgres.log").stat().st_size < 100_000
    assert (made_dir / "postgres.log.1").stat().st_size == 9_000_000


async def test_cluster_of_a_version_that_is_not_installed_names_both(made_dir: Path) -> None:
    (made_dir / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(StoreError, match=r"made by PostgreSQL 9, but .* \d+\.\d+ in /") as raised:
        await embedded_postgres(made_dir).__aenter__()
    assert "--postgres-bin-dir" in raised.value.message


@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason="needs Debian's PostgreSQL 15")
async def test_cluster_is_served_by_the_installed_version_that_made_it(data_dir: Path) -> None:
    async with embedded_postgres(data_dir, DEBIAN_15) as dsn:
        assert await fetchval(dsn, "SHOW default_toast_compression") == "lz4"
    async with embedded_postgres(data_dir) as dsn:
        assert str(await fetchval(dsn, "SHOW server_version")).startswith("15")


async def test_named_directory_without_a_server_is_a_wrong_setting(open_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"postgres_bin_dir: .*has no postgres"):
        find_binaries(open_dir, open_dir / "postgres")


@pytest.mark.parametrize("place", ["file/data", "/proc/gputel", "/dev/null"])
async def test_data_directory_that_cannot_be_made_is_one_clear_error(
    open_dir: Path, place: str
) -> None:
    (open_dir / "file").touch()
    with pytest.raises(StoreError, match=r"cannot keep the embedded Postgres in .*--data-dir"):
        await embedded_postgres(open_dir / place).__aenter__()


async def test_directory_of_something_else_in_the_cluster_s_place_is_left_alone(
    data_dir: Path,
) -> None:
    other = data_dir / "postgres" / "precious"
    other.mkdir(parents=True)
    with pytest.raises(StoreError, match="not a Postgres cluster"):
        await embedded_postgres(data_dir).__aenter__()
    assert other.is_dir()


async def test_socket_directory_that_is_a_link_is_refused(made_dir: Path) -> None:
    place = make_socket_dir(made_dir, None)
    place.rmdir()
    place.symlink_to(made_dir)
    try:
        with pytest.raises(StoreError, match=f"{place}.*not a directory of this user"):
            await embedded_postgres(made_dir).__aenter__()
    finally:
        place.unlink()


async def test_server_that_cannot_start_says_why_and_where_its_log_is(made_dir: Path) -> None:
    with pytest.raises(StoreError, match=r"no_such_setting.*postgres\.log"):
        await embedded_postgres(made_dir, overrides={"no_such_setting": "1"}).__aenter__()


async def test_server_that_cannot_start_again_is_told_of_once(made_dir: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "gputel.store")
    control = made_dir / "postgres" / "global" / "pg_control"
    async with embedded_postgres(made_dir) as dsn:
        tries, log = 3, made_dir / "postgres.log"
        control.rename(made_dir / "pg_control")
        os.kill(postmaster(made_dir), signal.SIGKILL)
        while log.read_text().count("could not find the database system") < tries:
            await asyncio.sleep(0.02)
        (made_dir / "pg_control").rename(control)
        while "is back" not in caplog.text:
            await asyncio.sleep(0.02)
        assert await fetchval(dsn, "SELECT 1") == 1
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in said] == [
        "the embedded Postgres has died, or its socket",
        "trying again until it starts",
        "the embedded Postgres is back",
    ]


async def test_server_is_started_on_the_main_thread_only(made_dir: Path) -> None:
    async def enter() -> None:
        await embedded_postgres(made_dir).__aenter__()

    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(asyncio.run, enter())


async def test_environment_of_other_servers_does_not_matter(
    made_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"PGPORT": "1", "PGHOST": "nowhere", "PGDATA": "/", "PGUSER": "me"}.items():
        monkeypatch.setitem(os.environ, name, text)
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SELECT current_user") == "gputel"
