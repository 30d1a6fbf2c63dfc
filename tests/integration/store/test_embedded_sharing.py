from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gputel.config.settings import PostgresSettings
from gputel.errors import StoreUnavailable
from gputel.store.pool import close_pool, open_pool, store_errors
from gputel.store.postgres.account import server_account
from gputel.store.postgres.binaries import find_binaries, runnable
from gputel.store.postgres.process import spawn
from gputel.store.postgres.shared import embedded_postgres, running_dsn
from tests.helpers.postgres_processes import Holder, fetchval, lives, postmaster
from tests.helpers.waiting import eventually

STARTED = "SELECT pg_postmaster_start_time()"


async def ended(pid: int) -> None:
    async def check() -> bool:
        return not lives(pid)

    await eventually(check)


def of(process: psutil.Process, data_dir: Path) -> bool:
    return str(process.info["cwd"]).startswith(str(data_dir))


async def test_ten_processes_at_once_share_one_server(data_dir: Path, hold) -> None:
    holders = [await hold(data_dir) for _ in range(10)]
    dsns = {await holder.dsn() for holder in holders}
    assert len(dsns) == 1
    server = postmaster(data_dir)
    assert os.path.realpath(f"/proc/{server}/cwd") == str(data_dir / "postgres")
    await asyncio.gather(*(holder.stop() for holder in holders))
    await ended(server)


async def test_kill_of_gputel_leaves_no_server_and_the_next_start_works(
    made_dir: Path, hold
) -> None:
    holder: Holder = await hold(made_dir)
    dsn = await holder.dsn()
    await fetchval(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    server = postmaster(made_dir)
    await holder.kill()
    await ended(server)
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SELECT answer FROM kept") == 42


async def test_start_right_after_a_kill_waits_for_the_old_server(made_dir: Path, hold) -> None:
    for _ in range(3):
        holder: Holder = await hold(made_dir)
        dsn = await holder.dsn()
        await fetchval(dsn, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
        await holder.kill()
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SELECT answer FROM kept") == 42


async def test_kill_while_the_cluster_is_being_made_leaves_nothing_half_made(
    data_dir: Path, hold
) -> None:
    holder: Holder = await hold(data_dir)

    async def halfway() -> bool:
        return any(data_dir.glob("postgres.new-*/base"))

    await eventually(halfway)
    await holder.kill()
    assert not (data_dir / "postgres").exists()
    async with embedded_postgres(data_dir) as dsn:
        assert await fetchval(dsn, "SELECT current_database()") == "gputel"
    assert not list(data_dir.glob("postgres.new-*"))


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_sharer_takes_over_when_the_owner_goes(made_dir: Path, hold, end: str) -> None:
    owner: Holder = await hold(made_dir)
    dsn = await owner.dsn()
    sharer: Holder = await hold(made_dir)
    assert await sharer.dsn() == dsn
    await fetchval(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    before = await fetchval(dsn, STARTED)

    await getattr(owner, end)()

    async def taken_over() -> bool:
        return await fetchval(dsn, STARTED) != before

    await eventually(taken_over)
    assert await fetchval(dsn, "SELECT answer FROM kept") == 42
    assert running_dsn(made_dir) == dsn
    server = postmaster(made_dir)
    assert await sharer.stop() == 0
    await ended(server)


async def test_sharer_that_leaves_does_not_stop_the_server(made_dir: Path, hold) -> None:
    async with embedded_postgres(made_dir) as dsn:
        before = await fetchval(dsn, STARTED)
        sharer: Holder = await hold(made_dir)
        await sharer.dsn()
        await sharer.stop()
        assert await fetchval(dsn, STARTED) == before


async def test_server_that_is_killed_comes_back_with_what_was_committed(made_dir: Path) -> None:
    async with embedded_postgres(made_dir) as dsn:
        await fetchval(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        for _ in range(2):
            before = postmaster(made_dir)
            os.kill(before, signal.SIGKILL)

            async def is_back(before: int = before) -> bool:
                return postmaster(made_dir) != before and await fetchval(dsn, "SELECT 1") == 1

            await eventually(is_back)
        assert await fetchval(dsn, "SELECT answer FROM kept") == 42


async def test_socket_that_is_cleaned_away_comes_back(made_dir: Path) -> None:
    async with embedded_postgres(made_dir) as dsn:
        shutil.rmtree(dsn.partition("host=")[2].partition("&")[0])

        async def is_back() -> bool:
            return await fetchval(dsn, "SELECT 1") == 1

        await eventually(is_back)


async def test_start_that_is_cancelled_leaves_no_process_and_nothing_half_made(
    data_dir: Path,
) -> None:
    starting = asyncio.create_task(embedded_postgres(data_dir).__aenter__())

    async def halfway() -> bool:
        return any(data_dir.glob("postgres.new-*/base"))

    await eventually(halfway)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not list(data_dir.glob("postgres.new-*"))
    assert not (data_dir / "postgres").exists()
    assert not [each for each in psutil.process_iter(["cwd"]) if of(each, data_dir)]
    async with embedded_postgres(data_dir) as dsn:
        assert await fetchval(dsn, "SELECT 1") == 1


async def test_server_without_an_owner_is_stopped_and_replaced(made_dir: Path) -> None:
    cluster = made_dir / "postgres"
    flags: list[str | Path] = [
        "-c",
        "listen_addresses=",
        "-c",
        f"unix_socket_directories={cluster}",
    ]
    account = server_account(made_dir, cluster)
    binaries = runnable(find_binaries(None, cluster), account, made_dir / "postgres-bin")
    command: list[str | Path] = [binaries.bin_dir / "postgres", "-D", cluster]
    orphan = spawn([*command, *flags], account, subprocess.DEVNULL)

    async def ready() -> bool:
        return "ready" in (cluster / "postmaster.pid").read_text()

    await eventually(ready)
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SELECT 1") == 1
        assert postmaster(made_dir) != orphan.pid
    assert orphan.wait(10) == 0


async def test_stale_pid_file_that_names_another_program_is_no_obstacle(made_dir: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    stale = f"{bystander.pid}\n{made_dir / 'postgres'}\n1\n5432\n\n\n0 0\nready\n"
    (made_dir / "postgres" / "postmaster.pid").write_text(stale)
    async with embedded_postgres(made_dir) as dsn:
        assert await fetchval(dsn, "SELECT 1") == 1
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_interrupt_from_the_terminal_does_not_reach_the_server(made_dir: Path) -> None:
    async with embedded_postgres(made_dir):
        assert os.getsid(postmaster(made_dir)) != os.getsid(0)


async def test_pool_outlives_a_restart_of_the_server(made_dir: Path) -> None:
    async with embedded_postgres(made_dir) as dsn:
        pool = await open_pool(dsn, PostgresSettings())
        for number in (signal.SIGKILL, signal.SIGINT):
            before = postmaster(made_dir)
            os.kill(before, number)

            async def is_back(before: int = before) -> bool:
                with suppress(StoreUnavailable), store_errors():
                    return await pool.fetchval("SELECT 1") == 1 and postmaster(made_dir) != before
                return False

            await eventually(is_back)
        await close_pool(pool)
