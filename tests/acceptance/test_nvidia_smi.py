"""The CSV of ``nvidia-smi --query-gpu``: ingested, streamed, followed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.conftest import Ingest
from tests.acceptance.test_follow import SHORT_LEASE
from tests.acceptance.test_run import DRAIN_S, Whole
from tests.helpers.captures import ROOT
from tests.helpers.processes import Processes
from tests.helpers.waiting import eventually

FIXTURE = ROOT / "fixtures" / "nvidia_smi.csv"
START = datetime(2025, 7, 18, 20, 42, tzinfo=UTC)
GPUS = 2
COLUMNS = "timestamp, index, memory.used [MiB], power.draw [W], temperature.gpu, fan.speed [%]"
METRICS = ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP")

Start = Callable[..., Whole]
Sample = tuple[datetime, str, str, float]


def lines(first: int, count: int) -> list[str]:
    """Lines of nvidia-smi from a second on, one a GPU; their values tell them apart."""
    return [
        f"{START + timedelta(seconds=second):%Y/%m/%d %H:%M:%S}.000, {gpu}, {second} MiB, "
        f"{second}.25 W, {second % 90}, [N/A]\n"
        for second in range(first, first + count)
        for gpu in range(GPUS)
    ]


def samples(seconds: int, host: str) -> Counter[Sample]:
    """What becomes of them, each once."""
    return Counter(
        (START + timedelta(seconds=second), f"gpu{gpu}@{host}", metric, value)
        for second in range(seconds)
        for gpu in range(GPUS)
        for metric, value in zip(METRICS, (second, second + 0.25, second % 90), strict=True)
    )


async def landed(pool: asyncpg.Pool) -> Counter[Sample]:
    rows = await pool.fetch("SELECT timestamp, uuid, metric_name, value FROM telemetry")
    return Counter(tuple(row) for row in rows)


@pytest.fixture
def start(processes: Processes, dsn: str) -> Start:
    def run(*arguments: str | Path) -> Whole:
        return Whole(processes, *arguments, *SHORT_LEASE, GPUTEL_POSTGRES_DSN=dsn)

    return run


async def test_each_value_lands_once_and_bad_lines_are_named(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.csv"
    options = ("--rejects", rejects, "--csv-host", "dgx-7")
    first = await ingest(FIXTURE, *options, "--chunk-rows", "7")
    assert first.process.returncode == 3
    assert "columns without numbers are left out: persistence_mode" in first.err
    assert "count as UTC: let it run with TZ=UTC" in first.err
    counts = [line.split()[1:3] for line in first.out.splitlines() if line.startswith("  rows ")]
    assert counts[1:4] == [["landed", "54"], ["rejected", "2"], ["skipped", "19"]]
    with rejects.open(newline="") as file:
        named = [(row["line"], row["column"]) for row in csv.DictReader(file)]
    assert named == [("5", ""), ("6", "power.draw [W]")]
    rows = await pool.fetch(
        "SELECT timestamp, gpu_id, model_name, hostname, value FROM telemetry "
        "WHERE metric_name = 'DCGM_FI_DEV_FB_USED' AND gpu_id = '1'"
    )
    when = START + timedelta(seconds=11, milliseconds=127)
    assert [tuple(row) for row in rows] == [(when, "1", "NVIDIA H100 80GB HBM3", "dgx-7", 1.0)]
    again = await ingest(FIXTURE, *options)
    assert "every row that can land had landed before: nothing was landed twice" in again.out
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 54


async def test_a_longer_copy_of_a_file_lands_only_what_is_new(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "smi.csv"
    for seconds, new in ((20, 120), (30, 60)):
        path.write_text("".join([COLUMNS + "\n", *lines(0, seconds)]))
        ended = await ingest(path, "--csv-host", "node-7", "--format", "json")
        report = json.loads(ended.out)
        assert (ended.process.returncode, report["rows_landed"]) == (0, new)
        assert report["rows_read"] == seconds * GPUS * len(METRICS)
        assert report["lines_skipped"] == seconds * GPUS, "fans"
        assert await landed(pool) == samples(seconds, "node-7")


async def test_a_streamed_file_lands_once_when_the_streamer_is_killed(
    start: Start, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "smi.csv"
    path.write_text("".join([COLUMNS + "\n", *lines(0, 200)]))
    host = ("--csv-host", "node-7")
    whole = start("--csv", path, *host, "--chunk-rows", "6", "--rate", "300")

    async def under_way() -> bool:
        return await pool.fetchval("SELECT count(*) FROM telemetry") > 0

    await eventually(under_way)
    whole.process.kill()
    whole = start("--csv", path, *host)
    await whole.process.says("every row of stream")
    assert await landed(pool) == samples(200, "node-7")
    query = "/prometheus/api/v1/query?query=DCGM_FI_DEV_GPU_TEMP&time="
    answer = await whole.get(query + str((START + timedelta(seconds=199)).timestamp()))
    found = {one["metric"]["gpu"]: one["value"][1] for one in answer["data"]["result"]}
    assert found == {"0": "19", "1": "19"}
    assert await whole.process.stop(wait_s=DRAIN_S) == 0


async def test_a_followed_file_lands_as_it_grows_over_a_rotation_and_a_restart(
    start: Start, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "smi.csv"
    seconds = 0

    def write(count: int) -> None:
        """Append lines, the last of them not whole at first."""
        nonlocal seconds
        text = "".join(lines(seconds, count))
        seconds += count
        for part in (text[:-7], text[-7:]):
            with path.open("a") as file:
                file.write(part)

    async def all_landed() -> bool:
        return await pool.fetchval("SELECT count(*) FROM telemetry") >= seconds * GPUS * 3

    following = ("--csv", path, "--follow", "--csv-host", "node-7")
    whole = start(*following)
    await whole.process.says(f"waiting for rows in {path}")
    path.write_text(COLUMNS + "\n")
    for _ in range(3):
        write(10)
        await eventually(all_landed)
    path.rename(tmp_path / "smi.1.csv")
    path.write_text(COLUMNS + "\n")
    write(20)
    await eventually(all_landed)
    whole.process.kill()
    write(10)
    whole = start(*following)
    await eventually(all_landed)
    write(10)
    await eventually(all_landed)
    assert await landed(pool) == samples(seconds, "node-7")
    assert await whole.process.stop(wait_s=DRAIN_S) == 0
