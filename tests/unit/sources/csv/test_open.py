import gzip
import os

import pytest

from gputel.errors import SourceError
from gputel.sources.csv.file import CsvFile


def refusal(path) -> str:
    with pytest.raises(SourceError) as caught:
        CsvFile.open(path)
    assert str(path) in caught.value.message
    return caught.value.message


def test_missing_file_is_named(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.csv")


def test_directory_is_refused(tmp_path):
    assert "is a directory" in refusal(tmp_path)


def test_empty_file_is_refused(bench):
    assert "is empty" in refusal(bench.raw(b""))


def test_empty_gzip_is_refused(bench):
    assert "is empty" in refusal(bench.raw(gzip.compress(b"")))


def test_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_read_permission_is_refused(bench):
    path = bench.file([])
    path.chmod(0)
    assert "may not be read" in refusal(path)


def test_gzip_magic_before_something_else_is_refused(bench):
    assert "gzip data is damaged" in refusal(bench.raw(b"\x1f\x8b" + b"no gzip at all" * 20))


@pytest.mark.parametrize(
    ("magic", "name"), [(b"BZh9", "bzip2"), (b"PK\x03\x04", "zip"), (b"PAR1", "Parquet")]
)
def test_other_formats_are_named(bench, magic, name):
    assert f"is a {name} file" in refusal(bench.raw(magic + b"rest"))


@pytest.mark.parametrize("rest", [b"", b"\n", b"\n\n\r\n"])
def test_header_alone_is_a_valid_file_without_rows(bench, rest):
    source = CsvFile.open(bench.raw(bench.header + rest))
    assert source.is_empty
    chunk = source.read(0, 10)
    assert (chunk.batch.num_rows, list(chunk.rejects), chunk.at_end) == (0, [], True)


def test_file_with_a_row_is_not_empty(bench):
    assert not CsvFile.open(bench.file([b"", bench.line()])).is_empty


def test_fingerprint_is_of_the_content_not_of_the_name(bench):
    lines = bench.numbered(3)
    one = CsvFile.open(bench.file(lines, name="a.csv"))
    two = CsvFile.open(bench.file(lines, name="b.csv"))
    other = CsvFile.open(bench.file(bench.numbered(3, 1), name="c.csv"))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert (one.name, two.name) == ("a.csv", "b.csv")


def test_fingerprint_of_a_large_file_sees_its_size_ends_and_samples(bench):
    def print_of(content: bytes) -> str:
        return CsvFile.open(bench.raw(bench.header + b"\n" + content)).fingerprint

    content = b"1\n" * 1_000_000
    prints = {
        print_of(content),
        print_of(content + b"1\n"),
        print_of(b"2" + content[1:]),
        print_of(content[:-2] + b"2\n"),
    }
    assert len(prints) == 4
    assert print_of(content) in prints
