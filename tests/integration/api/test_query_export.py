from __future__ import annotations

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gputel.web.server.listener import Listener
from tests.helpers.query_command import gputel, on_a_terminal
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every
from tests.helpers.wire import Wire

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> None:
    for uuid in ("GPU-a", "GPU-b"):
        await add_block(pool, Labels(uuid), every(NOON, 1, 60), [float(n) for n in range(60)])


def read(path: Path) -> int:
    if path.suffix == ".json":
        return len(json.loads(path.read_text()))
    if path.suffix == ".ndjson":
        return len([json.loads(line) for line in path.read_text().splitlines()])
    if path.suffix == ".csv":
        return len(list(csv.DictReader(path.read_text().splitlines())))
    if path.suffix == ".arrow":
        return pa.ipc.open_stream(path.read_bytes()).read_all().num_rows
    return pq.read_table(path).num_rows


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("format_", ["json", "ndjson", "csv", "arrow", "parquet"])
async def test_the_end_of_the_name_says_the_format(
    api: Listener, tmp_path: Path, format_: str
) -> None:
    path = tmp_path / f"fleet.{format_}"
    path.write_text("what was there before")
    ended = await gputel(api, "query", "export", str(path))
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert read(path) == 120
    ended = await gputel(api, "query", "export", str(path), "--uuid", "GPU-b", "--limit", "7")
    assert read(path) == 7
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("stored")
async def test_standard_output_is_json_unless_told_otherwise(api: Listener) -> None:
    assert len(json.loads((await gputel(api, "query", "export")).out)) == 120
    ended = await gputel(api, "query", "export", "-", "--format", "csv", "--metric", "TEMP")
    assert len(ended.out.splitlines()) == 121
    assert (await gputel(api, "query", "export", "/dev/null", "--format", "arrow")).code == 0


@pytest.mark.usefixtures("stored")
async def test_a_terminal_gets_text_only_where_it_is_asked_for(api: Listener) -> None:
    for format_ in ("json", "ndjson", "csv"):
        shown = await on_a_terminal(api, "export", "--format", format_)
        assert shown.startswith("gputel: FILE: all records would fill this terminal")
        assert shown.count("\n") == 1
    assert "fill this terminal" in await on_a_terminal(api, "export", "--limit", "1")
    assert len(json.loads(await on_a_terminal(api, "export", "-"))) == 120
    assert "cannot show it" in await on_a_terminal(api, "export", "-", "--format", "arrow")


@pytest.mark.usefixtures("stored")
async def test_a_file_that_cannot_be_is_one_clear_line(api: Listener, tmp_path: Path) -> None:
    for name, said in {
        "fleet.xlsx": "its ending is not a format; use one of .json",
        "fleet": "or give --format",
        "missing/fleet.csv": "cannot be written: No such file or directory",
    }.items():
        ended = await gputel(api, "query", "export", str(tmp_path / name))
        assert ended.code == 2
        assert said in ended.err
        assert ended.err.count("\n") == 1
    ended = await gputel(api, "query", "export", str(tmp_path), "--format", "csv")
    assert "is a directory; name a file in it" in ended.err
    assert list(tmp_path.iterdir()) == []


async def test_a_transfer_that_breaks_off_leaves_the_file_as_it_was(
    pool: asyncpg.Pool, wire: Wire, wired_api: Listener, tmp_path: Path
) -> None:
    await add_many(pool, Labels(), NOON - timedelta(hours=11), blocks=1000, samples=200)
    path = tmp_path / "fleet.ndjson"
    path.write_text("before")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "query", "export", str(path)),
        *("--api-url", wired_api.url),
        stderr=asyncio.subprocess.PIPE,
    )
    while not any(part.stat().st_size for part in tmp_path.glob(".*.part")):
        assert process.returncode is None
        await asyncio.sleep(0.001)
    await wire.cut()
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"broke off its answer, which is incomplete" in err
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
