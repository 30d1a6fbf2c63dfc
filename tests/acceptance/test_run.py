"""``gputel run`` as people run it: it starts, serves, drains, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import pytest

from tests.helpers.captures import write_numbered
from tests.helpers.postgres_processes import fetchval, lives, postmaster
from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.waiting import eventually, until

STOPS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
DRAIN_S = 120  # far more than the default deadline: the machine may have much else to do


class Whole:
    """``gputel run --role all`` on free ports."""

    def __init__(self, processes: Processes, *arguments: str | Path, **environment: str) -> None:
        self.api, self.broker = free_port(), free_port()
        ports = ("--api-port", str(self.api), "--broker-port", str(self.broker))
        every = ("run", "--role", "all", *ports, *arguments)
        self.process: Gputel = processes.start(*every, **environment)

    async def get(self, path: str) -> Any:
        async with aiohttp.request("GET", f"http://127.0.0.1:{self.api}{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()


@STOPS
async def test_rows_keep_coming_until_a_signal_ends_all_of_it(
    processes: Processes, made_dir: Path, number: signal.Signals
) -> None:
    whole = Whole(processes, "--data-dir", made_dir, "--rate", "2000")
    await whole.process.says("ready")
    assert await whole.get("/readyz") == {"status": "ready"}

    async def records() -> int:
        gpus = await whole.get("/api/v1/gpus")
        return len(gpus) and len(await whole.get(f"/api/v1/gpus/{gpus[0]['uuid']}/telemetry"))

    await eventually(records)
    before = await records()

    async def more() -> bool:
        return await records() > before

    await eventually(more)
    server = postmaster(made_dir)
    assert await whole.process.stop(number, wait_s=DRAIN_S) == 0
    assert whole.process.err.endswith("stopped\n")
    assert not lives(server)


@STOPS
async def test_what_was_read_has_landed_when_it_stops(
    processes: Processes, dsn: str, pool: asyncpg.Pool, number: signal.Signals, tmp_path: Path
) -> None:
    file = write_numbered(tmp_path / "numbered.csv", 5000)
    whole = Whole(processes, "--csv", file, "--loop", "--rate", "0", "--chunk-rows", "100",
                  GPUTEL_POSTGRES_DSN=dsn)  # fmt: skip

    async def well_under_way() -> bool:
        return (await pool.fetchval("SELECT next_row FROM stream_progress") or 0) > 5000

    await eventually(well_under_way)
    assert await whole.process.stop(number, wait_s=DRAIN_S) == 0
    assert await pool.fetchval("SELECT count(*) FROM stream_lease") == 0
    reserved = await pool.fetchval("SELECT next_row FROM stream_progress")
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == reserved


@STOPS
async def test_signal_while_the_database_is_being_made_leaves_nothing_running(
    processes: Processes, data_dir: Path, number: signal.Signals
) -> None:
    whole = Whole(processes, "--data-dir", data_dir)
    await until(lambda: any(data_dir.glob("postgres.new-*/base")), 60, "initdb to be under way")
    assert await whole.process.stop(number, wait_s=DRAIN_S) == 0
    assert whole.process.err == "gputel: stopped while starting\n"
    places = [process.info["cwd"] or "" for process in psutil.process_iter(["cwd"])]
    assert not [place for place in places if place.startswith(str(data_dir))]


async def test_signal_while_it_waits_for_postgres_ends_it(processes: Processes) -> None:
    whole = Whole(processes, GPUTEL_POSTGRES_DSN="postgresql://nobody@127.0.0.1:1/none")
    await whole.process.says("waiting for Postgres")
    assert await whole.process.stop(wait_s=DRAIN_S) == 0
    assert whole.process.err.endswith("gputel: stopped while starting\n")


async def test_second_gputel_on_a_data_directory_shares_its_server(
    processes: Processes, made_dir: Path, tmp_path: Path
) -> None:
    whole = Whole(processes, "--data-dir", made_dir)
    await whole.process.says("ready")
    server = postmaster(made_dir)
    file = write_numbered(tmp_path / "numbered.csv", 500)
    ended = await processes.run("ingest", file, "--data-dir", made_dir, "--format", "json")
    assert (ended.process.returncode, ended.err) == (0, "")
    assert json.loads(ended.out)["rows_landed"] == 500
    assert postmaster(made_dir) == server
    assert len(await whole.get("/api/v1/gpus/GPU-0007/telemetry")) > 10


async def test_db_url_leads_to_the_database_while_it_runs_and_no_longer(
    processes: Processes, made_dir: Path
) -> None:
    whole = Whole(processes, "--data-dir", made_dir)
    await whole.process.says("ready")
    url = await processes.run("db", "url", "--data-dir", made_dir)
    assert (url.process.returncode, url.err) == (0, "")
    assert await fetchval(url.out.strip(), "SELECT count(*) FROM stream_progress") == 1
    assert await whole.process.stop() == 0
    url = await processes.run("db", "url", "--data-dir", made_dir)
    assert (url.process.returncode, url.out) == (1, "")
    assert url.err.startswith(f"gputel: no gputel runs its embedded Postgres in {made_dir}: start")


@pytest.mark.parametrize("given", ["flag", "environment"])
async def test_roles_may_be_listed_with_commas(processes: Processes, dsn: str, given: str) -> None:
    api, broker = free_port(), free_port()
    ports = ("--api-port", str(api), "--broker-port", str(broker))
    roles = ("--role", "broker,api") if given == "flag" else ()
    environment = {} if roles else {"GPUTEL_ROLE": "broker,api"}
    both = processes.start("run", *roles, *ports, GPUTEL_POSTGRES_DSN=dsn, **environment)
    await both.says("ready")
    for port in (api, broker):
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/readyz") as response:
            assert response.status == 200
    assert "streamer" not in both.err
    assert await both.stop() == 0


@pytest.mark.parametrize(
    ("role", "flag"),
    [("broker", "--broker-port"), ("api", "--api-port"), ("collector", "--health-port")],
)
async def test_port_that_is_taken_is_named_with_its_flag(
    processes: Processes, dsn: str, role: str, flag: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = await processes.run("run", "--role", role, flag, port, GPUTEL_POSTGRES_DSN=dsn)
    assert ended.process.returncode == 2
    assert ended.err == (
        f"gputel: port {port} on 127.0.0.1 is taken by another process: stop it, or choose "
        f"another port with {flag}\n"
    )
