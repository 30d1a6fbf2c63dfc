"""Every kind of bad file, through a real ingest: what can land lands, the rest is told."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.conftest import Ingest
from tests.helpers.captures import ROOT, START, numbered_row, write_rows
from tests.helpers.processes import Processes

BAD = ROOT / "fixtures" / "bad"
REFUSED = {
    "empty.csv": "is empty; a DCGM CSV starts with a header line",
    "no_header.csv": "the header lacks columns timestamp, metric_name, uuid, value",
    "missing_column.csv": "the header lacks columns uuid, value",
    "duplicate_column.csv": "the header has column value 2 times",
    "semicolons.csv": "fields must be separated by commas",
    "binary.csv": "is a binary file, not a CSV",
    "missing.csv": "no such file; check the path",
    "directory.csv": "is a directory without .csv, .gz or .zst files in it",
}
REJECTED = {  # line, column, and how the reason begins
    "header_only.csv": [],
    "field_count.csv": [("3", "", "wrong number of fields: found 11, expected 12")],
    "value_not_a_number.csv": [
        ("3", "value", "value is not a number: 'N/A'"),
        ("4", "value", "value is blank"),
    ],
    "blank_sentinel.csv": [("3", "value", "value is DCGM's blank sentinel (int32, blank)")],
    "timestamp.csv": [("3", "timestamp", "timestamp is not like 2025-07-18T20:42:34Z: 'yest")],
    "not_utf8.csv": [("3", "Hostname", "text is not UTF-8")],
    "unclosed_quote.csv": [("3", "device", "stray quote")],
    "line_break_in_quotes.csv": [
        ("3", "device", "unclosed quote"),
        ("4", "timestamp", "stray quote"),
    ],
    "cut_off.csv": [("4", "modelName", "the file looks cut off in this line: unclosed quote")],
}
ROWS_OF_A_BAD_FILE = 2


async def test_good_rows_land_and_bad_ones_are_told_of_every_kind_of_file(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    (tmp_path / "directory.csv").mkdir()
    for file in BAD.iterdir():
        shutil.copy(file, tmp_path)
    ended = await ingest(*REFUSED, *REJECTED)
    assert ended.process.returncode == 1
    told = [line for line in ended.err.splitlines() if line.startswith("gputel: ")]
    for (name, reason), line in zip(REFUSED.items(), told, strict=True):
        assert line.startswith(f"gputel: {name}: ")
        assert reason in line
    assert await pool.fetchval("SELECT count(*) FROM telemetry") == ROWS_OF_A_BAD_FILE
    again = sum(map(int, re.findall("([0-9]+) already there", ended.out)))
    files = sum(1 for rejects in REJECTED.values() if rejects)
    assert again == (files - 1) * ROWS_OF_A_BAD_FILE, "they have the same good rows"
    for name, wanted in REJECTED.items():
        assert f"{name}  (stream csv-" in ended.out
        assert_rejects(tmp_path / f"{name}.rejects.csv", wanted)


@pytest.mark.parametrize("name", REFUSED)
async def test_file_that_cannot_be_read_is_one_line_and_starts_nothing(
    processes: Processes, tmp_path: Path, name: str
) -> None:
    file = BAD / name
    if name == "directory.csv":
        file = tmp_path
    ended = await processes.run("ingest", file, "--data-dir", tmp_path / "data")
    assert (ended.process.returncode, ended.out) == (1, "")
    assert ended.err.startswith(f"gputel: {file}: ")
    assert REFUSED[name] in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def assert_rejects(file: Path, wanted: list[tuple[str, str, str]]) -> None:
    if not wanted:
        assert not file.exists()
        return
    with file.open(newline="") as opened:
        for row, (line, column, reason) in zip(csv.DictReader(opened), wanted, strict=True):
            assert (row["line"], row["column"]) == (line, column), file
            assert row["reason"].startswith(reason)


async def test_files_of_other_habits_land_whole(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    rows = [numbered_row(index) for index in range(50)]
    plain = write_rows(tmp_path / "quoted.csv", rows).read_bytes()
    with (tmp_path / "quoted.csv").open(newline="") as opened:
        columns = list(zip(*csv.reader(opened), strict=True))
    extra = [("rack", *("r1" for _ in rows)), *columns[::-1]]
    few = [
        column for column in columns if column[0] in {"timestamp", "metric_name", "uuid", "value"}
    ]
    files = {
        "crlf.csv": plain.replace(b"\n", b"\r\n"),
        "bom.csv": b"\xef\xbb\xbf" + plain,
        "no_last_line_end.csv": plain.rstrip(b"\n"),
        "blank_lines.csv": plain.replace(b"\n", b"\n\n"),
        "reordered_and_extra.csv": unquoted(extra, tmp_path),
        "few.csv": unquoted(few, tmp_path),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    ended = await ingest(*files)
    assert (ended.process.returncode, ended.err) == (0, "")
    found = await pool.fetch(
        "SELECT value::int, timestamp, uuid, count(*) AS times FROM telemetry GROUP BY 1, 2, 3"
    )
    # A series has one sample for an instant; that with few columns is another series.
    assert {tuple(row) for row in found} == {
        (index, START.replace(microsecond=10_000 * index), row[4], 2)
        for index, row in enumerate(rows)
    }
    assert ended.out.count(" 50 already there") == len(files) - 2
    whole = await pool.fetchval("SELECT count(*) FROM telemetry WHERE labels_raw LIKE 'gpu=\"_\"'")
    assert whole == len(rows)


def unquoted(columns: list[tuple[str, ...]], directory: Path) -> bytes:
    """These columns as a CSV with no more quotes than it needs."""
    file = directory / "unquoted.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(zip(*columns, strict=True))
    return file.read_bytes()
