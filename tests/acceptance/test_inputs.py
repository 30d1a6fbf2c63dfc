"""Many files, pipes and compressed files as one ingest."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import asyncpg
import pyarrow as pa

from tests.acceptance.conftest import Ingest
from tests.helpers.captures import numbers, write_numbered
from tests.helpers.processes import Processes
from tests.helpers.waiting import eventually


def parts(directory: Path, rows: int) -> Path:
    """A directory of rows in files of every kind."""
    place = directory / "parts"
    place.mkdir()
    content = write_numbered(directory / "whole", rows).read_bytes()
    header, *lines = content.splitlines(keepends=True)
    third = rows // 3
    texts = [
        header + b"".join(lines[begin:end])
        for begin, end in ((0, third), (third, 2 * third), (2 * third, rows))
    ]
    (place / "1.csv").write_bytes(texts[0])
    (place / "2.csv.gz").write_bytes(gzip.compress(texts[1]))
    (place / "3.csv.zst").write_bytes(pa.Codec("zstd").compress(texts[2], asbytes=True))
    return place


async def test_directory_is_one_ingest_with_a_line_a_file_and_a_summary(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    place = parts(tmp_path, 6000)
    (place / "0.csv").write_text("no,header,of,ours\n")
    ended = await ingest(place, "--chunk-rows", "700")
    assert ended.process.returncode == 1
    assert ended.err.startswith(f"gputel: {place}/0.csv: the header lacks")
    assert ended.err.count("\n") == 1
    assert await numbers(pool) == Counter(range(6000))
    lines = ended.out.splitlines()
    names = [place / name for name in ("1.csv", "2.csv.gz", "3.csv.zst")]
    for name, line in zip(names, lines[:3], strict=True):
        assert line.startswith(f"{name}  (stream csv-")
        assert "2,000 landed" in line
    assert lines[3] == "3 files"
    assert lines[5].split() == ["rows", "landed", "6,000"]


async def test_compressed_file_that_was_cut_short_is_an_error_that_keeps_what_landed(
    ingest: Ingest, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    place = parts(tmp_path, 6000)
    for name, codec in (("2.csv.gz", "gzip"), ("3.csv.zst", "zstd")):
        file = place / name
        file.write_bytes(file.read_bytes()[:-20])
        ended = await ingest(file, "--format", "json")
        assert ended.process.returncode == 1
        assert f"gputel: {file}: the {codec} data ends in its middle" in ended.err
        report = json.loads(ended.out)
        assert report["rows_landed"] == await pool.fetchval("SELECT count(*) FROM telemetry")
        await pool.execute("TRUNCATE sample_block")


def piped(content: bytes, dsn: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gputel", "ingest", "-", *arguments]
    environ = os.environ | {"GPUTEL_POSTGRES_DSN": dsn}
    return subprocess.run(command, input=content, capture_output=True, cwd=cwd, env=environ)


async def test_standard_input_lands_once_however_often_it_comes(
    pool: asyncpg.Pool, dsn: str, tmp_path: Path
) -> None:
    content = write_numbered(tmp_path / "some.csv", 3000).read_bytes() + b"junk\n"
    packed = gzip.compress(content)
    first = piped(packed, dsn, tmp_path, "--format", "json")
    assert (first.returncode, first.stderr) == (3, b"")
    report = json.loads(first.stdout)
    assert report["file"] == "standard input"
    assert report["rejects_file"] == "stdin.rejects.csv"
    assert await numbers(pool) == Counter(range(3000))
    assert piped(packed, dsn, tmp_path).returncode == 3
    assert await numbers(pool) == Counter(range(3000))
    assert await pool.fetchval("SELECT DISTINCT source FROM stream_progress") == "standard input"


async def test_standard_input_that_is_no_csv_is_named(dsn: str, tmp_path: Path) -> None:
    ended = piped(b"hello\n", dsn, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"gputel: standard input: the header lacks")


async def test_signal_ends_the_wait_for_a_pipe(
    processes: Processes, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    waiting = processes.start("ingest", tmp_path / "pipe", GPUTEL_POSTGRES_DSN=dsn)

    async def opened() -> bool:
        links = Path(f"/proc/{waiting.process.pid}/fd").iterdir()
        return any(os.path.realpath(link) == str(tmp_path / "pipe") for link in links)

    await eventually(opened)
    assert await waiting.stop(signal.SIGINT) == 130
    assert waiting.err == ""
    os.close(writer)


async def test_interrupt_at_the_very_start_says_so_and_is_no_failure_of_clicks(
    processes: Processes, tmp_path: Path
) -> None:
    code = (
        "import signal, sys; import gputel.cli.main as main;"
        # A shell in the background starts its commands with SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "main.import_module = lambda name: signal.raise_signal(signal.SIGINT);"
        "sys.argv = ['gputel', 'ingest', 'x']; main.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr.strip() == "gputel: stopped"


async def test_names_that_are_not_utf8_land_and_keep_their_bytes(
    pool: asyncpg.Pool, dsn: str, tmp_path: Path
) -> None:
    place = tmp_path / os.fsdecode(b"d\xff")
    place.mkdir()
    first, second = (place / os.fsdecode(name) for name in (b"1\xfe.csv", b"2\xfe.csv"))
    header, *lines = write_numbered(tmp_path / "whole", 50).read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join([header, *lines[:20], b"junk\n"]))
    second.write_bytes(b"".join([header, *lines[20:]]))
    command = [sys.executable, "-m", "gputel", "ingest", str(place)]
    environ = os.environ | {"GPUTEL_POSTGRES_DSN": dsn}
    with Path("/dev/full").open("wb") as full:  # a report that cannot be printed stops no ingest
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, env=environ
        )
    said = b"gputel: standard output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)
    assert await numbers(pool) == Counter(range(50))
    rejects = (tmp_path / os.fsdecode(b"1\xfe.csv.rejects.csv")).read_bytes()
    assert bytes(place) + b"/1\xfe.csv,22," in rejects
