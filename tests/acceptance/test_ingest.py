"""CSV in, rows and a report out: ``gputel ingest`` as people run it."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.acceptance.conftest import Ingest
from tests.helpers.captures import numbered_row, numbers, write_numbered, write_rows
from tests.helpers.processes import Processes, free_port

GPU = "GPU-5fd4f087-86f3-7a43-b711-4771313afc50"


async def test_real_capture_lands_whole_and_once(
    ingest: Ingest, pool: asyncpg.Pool, capture: Path
) -> None:
    first = await ingest(capture)
    assert (first.process.returncode, first.err) == (0, "")
    assert "rows landed                  2,470\n" in first.out
    again = await ingest(capture)
    assert (again.process.returncode, again.err) == (0, "")
    assert "every row had landed before: nothing was landed twice" in again.out
    assert "rows landed                      0\n" in again.out
    assert "duplicates dropped           2,470   had landed before" in again.out
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == 2470
    assert await pool.fetchval("SELECT count(DISTINCT uuid) FROM telemetry") == 247


async def test_real_capture_comes_back_through_the_api_and_the_command_line(
    ingest: Ingest, processes: Processes, api_url: str, capture: Path
) -> None:
    assert (await ingest(capture)).process.returncode == 0
    gpus = await processes.run("query", "gpus", "--format", "json", "--api-url", api_url)
    assert len({gpu["uuid"] for gpu in json.loads(gpus.out)}) == 247
    telemetry = ("query", "telemetry", GPU, "--api-url", api_url)
    records = json.loads((await processes.run(*telemetry, "--format", "json")).out)
    with capture.open(newline="") as file:
        wanted = [row for row in csv.DictReader(file) if row["uuid"] == GPU]
    assert len(records) == len(wanted) == 10
    assert {reading(record) for record in records} == {
        reading(row | {"hostname": row["Hostname"]}) for row in wanted
    }
    values = {record["metric_name"]: record["value"] for record in records}
    assert values["DCGM_FI_DEV_GPU_UTIL"] == 0
    async with aiohttp.request("GET", f"{api_url}/api/v1/gpus/{GPU}/telemetry") as response:
        assert await response.json() == records


def reading(record: dict[str, str]) -> tuple[object, ...]:
    names = ("timestamp", "metric_name", "gpu_id", "device", "modelName", "hostname", "labels_raw")
    return (*(record[name] for name in names), float(record["value"]))


async def test_real_capture_lands_on_an_embedded_postgres_made_for_it(
    processes: Processes, data_dir: Path, capture: Path
) -> None:
    for landed in (2470, 0):
        ended = await processes.run("ingest", capture, "--data-dir", data_dir, "--format", "json")
        assert (ended.process.returncode, ended.err) == (0, "")
        assert json.loads(ended.out)["rows_landed"] == landed


async def test_summary_for_programs_is_one_json_object_a_file_and_one_of_all(
    ingest: Ingest, tmp_path: Path
) -> None:
    files = [write_numbered(tmp_path / f"{rows}.csv", rows) for rows in (10, 20)]
    ended = await ingest(*files, "--format", "json")
    *reports, total = [json.loads(line) for line in ended.out.splitlines()]
    assert total.items() >= {"files": 2, "files_complete": 2, "rows_landed": 20}.items()
    assert total["rows_already_there"] == 10, "the shorter file begins the longer one"
    assert [report["file"] for report in reports] == list(map(str, files))
    assert [report["rows_landed"] for report in reports] == [10, 10]
    assert reports[0].items() >= {
        "rows_read": 10, "rows_rejected": 0, "lines_skipped": 0, "duplicates_dropped": 0,
        "complete": True, "rejects_file": None, "rejected_before": 0,
    }.items()  # fmt: skip
    assert reports[0]["stream_id"].startswith("csv-")
    assert reports[0]["seconds"] > 0
    assert reports[0]["rows_per_s"] > 0


@pytest.mark.parametrize("given", [None, "kept/here.csv"])
async def test_bad_rows_are_kept_with_place_and_reason_and_good_ones_land(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path, given: str | None
) -> None:
    rows = [numbered_row(index) for index in range(1000)]
    rows[3][10] = "N/A"
    rows[500] = rows[500][:11]
    rows[999][0] = "yesterday"
    file = write_rows(tmp_path / "some.csv", rows)
    lines = file.read_bytes()
    header = lines[: lines.index(b"\n") + 1]
    file.write_bytes(lines + b"\n \r\n" + header + b"\n")
    (tmp_path / "kept").mkdir()
    ended = await ingest(file, *(("--rejects", given) if given else ()), "--chunk-rows", "100")
    assert ended.process.returncode == 3
    kept = tmp_path / (given or "some.csv.rejects.csv")
    assert f"rows rejected                    3   kept in {given or kept.name}\n" in ended.out
    assert "rows read                    1,000\n" in ended.out
    assert "rows landed                    997\n" in ended.out
    assert "lines skipped                    4   blank, or the header once more\n" in ended.out
    with kept.open(newline="") as opened:
        rejects = list(csv.DictReader(opened))
    assert [(row["file"], row["line"], row["column"], row["reason"]) for row in rejects] == [
        (str(file), "5", "value", "value is not a number: 'N/A'"),
        (str(file), "502", "", "wrong number of fields: found 11, expected 12"),
        (
            *(str(file), "1001", "timestamp"),
            "timestamp is not like 2025-07-18T20:42:34Z: 'yesterday'",
        ),
    ]
    assert rejects[0]["text"] == file.read_text().splitlines()[4]
    assert await numbers(pool) == Counter(set(range(1000)) - {3, 500, 999})
    again = await ingest(file)
    assert again.process.returncode == 3
    assert "every row that can land had landed before: nothing was landed twice" in again.out
    assert "rows rejected                    0   3 by an earlier run\n" in again.out
    assert "duplicates dropped             997   had landed before\n" in again.out


async def test_rows_of_times_that_are_not_kept_are_reported_as_rejected(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    rows = [numbered_row(index) for index in range(100)]
    rows[7][0], rows[8][0] = "2099-01-01T00:00:00Z", "tomorrow"
    file = write_rows(tmp_path / "some.csv", rows)
    ended = await ingest(file, "--retention", "36500d")
    assert ended.process.returncode == 3
    assert "rows landed                     98\n" in ended.out
    assert "rows rejected                    2   kept in some.csv.rejects.csv\n" in ended.out
    assert "1 outside of --retention, --future-limit or --impossible-values\n" in ended.out
    assert await numbers(pool) == Counter(set(range(100)) - {7, 8})


async def test_gzipped_file_lands(ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path) -> None:
    plain = write_numbered(tmp_path / "some.csv", 5000)
    packed = tmp_path / "some.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    ended = await ingest(packed, "--chunk-rows", "700")
    assert (ended.process.returncode, ended.err) == (0, "")
    assert await numbers(pool) == Counter(range(5000))


async def test_rows_reach_the_collectors_of_another_broker(
    ingest: Ingest, processes: Processes, pool: asyncpg.Pool, dsn: str, tmp_path: Path
) -> None:
    port = str(free_port())
    await processes.start("run", "--role", "broker", "--broker-port", port).says("ready")
    url = ("--broker-url", f"http://127.0.0.1:{port}")
    collector = processes.start("run", "--role", "collector", *url, GPUTEL_POSTGRES_DSN=dsn)
    await collector.says("ready")
    file = write_numbered(tmp_path / "some.csv", 5000)
    ended = await ingest(file, *url, "--chunk-rows", "700", "--format", "json")
    assert (ended.process.returncode, ended.err) == (0, "")
    assert json.loads(ended.out)["rows_landed"] == 5000
    assert await numbers(pool) == Counter(range(5000))
