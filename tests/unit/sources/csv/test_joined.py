"""Files that were joined, whose headers differ: each line is read by the last header above it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.growing import open_growing
from gputel.sources.csv.looping import LoopingSource
from gputel.sources.dcgm.chunk import RejectedRow

HEADERS = {
    "first": "timestamp,metric_name,uuid,value,Hostname,pod",
    "swapped": "timestamp,metric_name,Hostname,value,uuid,pod",
    "moved": "value,metric_name,uuid,Timestamp,Hostname,pod",
    "spaced": "timestamp, metric_name, Hostname, value, uuid, pod",
    "longer": "timestamp,uuid,metric_name,value,Hostname,pod,other",
}
UNUSABLE = "timestamp,metric_name,Hostname,value,gpu,pod"


def line(kind: str, number: int, **fields: str) -> str:
    known = {
        "timestamp": "2025-07-18T20:42:34Z",
        "metric_name": "DCGM_FI_DEV_OTHER",
        "uuid": "GPU-7",
        "value": str(number),
        "Hostname": "node-7",
        "pod": "trainer",
        "other": "1",
    } | fields
    titles = HEADERS[kind].split(",")
    cells = [known[title.strip() if title != "Timestamp" else "timestamp"] for title in titles]
    return (", " if kind == "spaced" else ",").join(cells)


def lines(kind: str, count: int, start: int = 0) -> list[str]:
    return [HEADERS[kind], *(line(kind, start + number) for number in range(count))]


def write(directory: Path, *content: str, packed: bool = False) -> Path:
    path = directory / "joined.csv"
    text = ("\n".join(content) + "\n").encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


def samples(batch: Any) -> list[tuple[str, str, str, float]]:
    return [(row["uuid"], row["hostname"], row["pod"], row["value"]) for row in batch.to_pylist()]


def expected(*numbers: int) -> list[tuple[str, str, str, float]]:
    return [("GPU-7", "node-7", "trainer", float(number)) for number in numbers]


@pytest.mark.parametrize("count", [2, 5000])
@pytest.mark.parametrize("kind", HEADERS)
def test_lines_are_read_by_the_header_above_them(tmp_path: Path, kind: str, count: int) -> None:
    content = lines("first", count) + lines(kind, count, count) + lines("first", 2, 2 * count)
    chunk = CsvFile.open(write(tmp_path, *content)).read(0, 100_000)
    assert samples(chunk.batch) == expected(*range(2 * count + 2))
    assert (list(chunk.rejects), chunk.skipped) == ([], 2)


@pytest.mark.parametrize("packed", [False, True])
def test_a_read_from_the_middle_knows_the_header_above(tmp_path: Path, packed: bool) -> None:
    content = lines("first", 9000) + lines("swapped", 9000, 9000)
    path = write(tmp_path, *content, packed=packed)
    csv = CsvFile.open(path)
    assert samples(csv.read(9010, 2).batch) == expected(9009, 9010)
    assert samples(csv.read(8998, 4).batch) == expected(8998, 8999, 9000)
    assert samples(csv.read(17_990, 99).batch) == expected(*range(17_989, 18_000))
    assert samples(csv.read(5, 1).batch) == expected(5)


def test_a_header_that_comes_while_the_file_grows_counts_from_there_on(tmp_path: Path) -> None:
    path = write(tmp_path, *lines("first", 2))
    for late in (False, True):  # a second reader begins in the middle
        csv = open_growing(path)
        assert csv is not None
        if not late:
            assert samples(csv.read(0, csv.rows_ready()).batch) == expected(0, 1)
            with path.open("a") as file:
                file.write("\n".join([*lines("swapped", 2, 2), ""]))
        assert csv.rows_ready() == 5
        assert samples(csv.read(4, 1).batch) == expected(3)
        assert samples(csv.read(3, 2).batch) == expected(2, 3)


def test_a_loop_goes_back_to_the_first_header(tmp_path: Path) -> None:
    source = LoopingSource(
        CsvFile.open(write(tmp_path, *lines("first", 1), *lines("swapped", 1, 1)))
    )
    assert samples(source.read(0, 6).batch) == expected(0, 1, 0, 1)


@pytest.mark.parametrize("count", [2, 3000])
def test_lines_below_a_header_that_cannot_be_used_are_rejected(tmp_path: Path, count: int) -> None:
    bad = [UNUSABLE, *lines("swapped", count)[1:], ""]
    content = [*lines("first", count), *bad, *lines("first", 1, count)]
    chunk = CsvFile.open(write(tmp_path, *content)).read(0, 100_000)
    assert samples(chunk.batch) == expected(*range(count + 1))
    assert [reject.line for reject in chunk.rejects] == list(range(count + 2, 2 * count + 3))
    (reason,) = {reject.reason for reject in chunk.rejects}
    assert reason.startswith(
        f"the header in line {count + 2}: the header lacks column uuid (found: "
    )
    assert reason.endswith("split the file there and ingest the parts")


def test_a_row_with_the_text_of_a_title_is_no_header(tmp_path: Path) -> None:
    rows = [line("first", 1, pod="timestamp"), line("first", 2, Hostname="metric_name")]
    broken = line("first", 3, pod="timestamp", timestamp="yesterday")
    path = write(tmp_path, HEADERS["first"], *rows, broken, line("first", 4))
    chunk = CsvFile.open(path).read(0, 99)
    assert [row["value"] for row in chunk.batch.to_pylist()] == [1, 2, 4]
    assert [reject.line for reject in chunk.rejects] == [4]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_into_chunks_reads_the_same(data: st.DataObject, tmp_path: Path) -> None:
    content, kind = [HEADERS["first"]], "first"
    for number in range(data.draw(st.integers(0, 15))):
        drawn = data.draw(st.sampled_from([*HEADERS, "unusable", "row", "row", "row", "bad", ""]))
        if drawn in HEADERS:
            kind = drawn
        rows = {"unusable": UNUSABLE, "row": line(kind, number), "bad": "GPU is lost", "": ""}
        content.append((HEADERS | rows)[drawn])
    path = write(tmp_path, *content, packed=data.draw(st.booleans()))
    complete = CsvFile.open(path).read(0, 100)
    assert all(row["uuid"] == "GPU-7" for row in complete.batch.to_pylist())
    csv = CsvFile.open(path)
    for _ in range(6):
        first, count = data.draw(st.integers(0, 15)), data.draw(st.integers(1, 15))
        chunk = csv.read(first, count)
        rejects: list[RejectedRow] = [
            reject for reject in complete.rejects if first <= reject.row < first + count
        ]
        assert list(chunk.rejects) == rejects
        alone = CsvFile.open(path).read(first, count)
        assert samples(alone.batch) == samples(chunk.batch)
    found: list[Any] = []
    at = 0
    while at < complete.row_count:
        chunk = csv.read(at, data.draw(st.integers(1, 5)))
        found += samples(chunk.batch)
        at += chunk.row_count
    assert found == samples(complete.batch)
