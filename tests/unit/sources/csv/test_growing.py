"""A file that others append to: whole lines only, and what becomes of its name."""

import gzip
import os

import pytest

from gputel.errors import SourceError
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.growing import Fate, open_growing


def append(path, content):
    with path.open("ab") as file:
        file.write(content)


def test_rows_are_ready_when_their_line_is_whole(bench):
    lines = bench.numbered(5)
    path = bench.file(lines[:2])
    growing = open_growing(path)
    assert growing.rows_ready() == 2
    assert bench.values(growing.read(0, 2)) == [0, 1]
    append(path, lines[2] + b"\n" + lines[3][:40])
    assert growing.rows_ready() == 3
    append(path, lines[3][40:] + b"\n" + lines[4])
    assert growing.rows_ready() == 4
    chunk = growing.read(2, 2)
    assert (bench.values(chunk), chunk.at_end) == ([2, 3], False)
    assert bench.values(growing.read(1, 3)) == [1, 2, 3]
    assert growing.count_rows() == 5  # nobody appends any more
    assert bench.values(growing.read(4, 1)) == [4]


def test_file_larger_than_a_buffer_grows_on(bench):
    lines = bench.numbered(60_000)
    path = bench.file(lines[:50_000])
    growing = open_growing(path)
    assert growing.rows_ready() == 50_000
    assert bench.values(growing.read(49_990, 10)) == list(range(49_990, 50_000))
    append(path, b"\n".join(lines[50_000:]) + b"\n")
    assert growing.rows_ready() == 60_000
    assert bench.values(growing.read(49_995, 10_005)) == list(range(49_995, 60_000))


@pytest.mark.parametrize("content", [None, b"", b"timestamp,metric", b"header\n", b"header\n1,2"])
def test_file_without_a_whole_row_is_waited_for(bench, content):
    path = bench.directory / "later.csv"
    if content is not None:
        path.write_bytes(content)
    assert open_growing(path) is None


def test_growth_and_another_name_leave_its_identity(bench):
    path = bench.file(bench.numbered(2))
    before = open_growing(path)
    append(path, bench.line() + b"\n")
    moved = path.rename(path.with_suffix(".1"))
    after = open_growing(moved)
    assert (before.stream_id, before.fingerprint) == (after.stream_id, after.fingerprint)
    copy = bench.raw(moved.read_bytes(), "copy.csv")
    other = open_growing(copy)
    assert (other.stream_id == after.stream_id, other.fingerprint) == (False, after.fingerprint)
    assert open_growing(bench.file(bench.numbered(2, start=7))).fingerprint not in (
        before.fingerprint
    )


def test_fate_tells_rotation_from_truncation(bench):
    path = bench.file(bench.numbered(3))
    growing = open_growing(path)
    assert growing.fate() is Fate.GROWING
    old = path.rename(path.with_suffix(".1"))
    assert growing.fate() is Fate.GROWING  # until there is another
    bench.file(bench.numbered(1))
    assert growing.fate() is Fate.ROTATED
    os.truncate(old, 100)
    assert growing.fate() is Fate.CUT


def test_content_begun_anew_is_noticed_at_any_size(bench):
    path = bench.file(bench.numbered(3))
    growing = open_growing(path)
    with path.open("r+b") as file:
        file.write(bench.header + b"\n" + bench.line(value="8") + b"\n" * 2000)
    assert growing.fate() is Fate.CUT


def test_compressed_file_cannot_be_followed(bench):
    content = gzip.compress(os.urandom(4000) + b"\n\n" + bench.header)
    path = bench.raw(content + b"\n\n\n")
    with pytest.raises(SourceError, match="is compressed"):
        open_growing(path)


@pytest.mark.parametrize("ends_with", [b"\n", b""])
def test_rows_that_an_ingest_has_read_are_found_again_when_the_file_has_grown(bench, ends_with):
    lines = bench.numbered(40_000)
    header = bench.file([]).read_bytes()
    path = bench.raw(header + b"\n".join(lines[:30_000]) + ends_with, "grows.csv")
    before = CsvFile.open(path)
    ended = {"other": 100, before.fingerprint: before.count_rows(), "another": 50_000}
    assert open_growing(path).rows_of(ended) == (30_000 if ends_with else 0)
    append(path, (b"" if ends_with else b"\n") + b"\n".join(lines[30_000:]) + b"\n")
    growing = open_growing(path)
    assert growing.rows_of(ended) == 30_000
    assert growing.rows_of({}) == growing.rows_of({"other": 30_000}) == 0
    changed = bench.raw(path.read_bytes().replace(b"GPU-", b"gpu-", 1), "changed.csv")
    assert open_growing(changed).rows_of(ended) == 0
